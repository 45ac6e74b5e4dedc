"""Parameters of the crop stage: the heart box on the working grid."""

from typing import Literal

from pydantic import Field

from crossmodalnet.config import Config, IntTriple


class CropConfig(Config):
    """Section `crop`."""

    roi: Literal["atlas", "labels"] = Field(
        "atlas",
        description="origin of the heart box; atlas: labels of training subjects, propagated as to a new patient; "
        "labels: the subject's own label, as in the paper",
    )
    margin_mm: float = Field(5.0, ge=0, le=100, description="margin around the heart box on every side, mm")
    spacing_mm: float = Field(3.5, gt=0, le=10, description="isotropic spacing of the working grid, mm")
    size: IntTriple = Field((40, 40, 40), description="voxels of the working grid, world x, y, z")
    num_atlases: int = Field(3, ge=1, description="training subjects whose labels vote for the box")
    atlas_spacing_mm: float = Field(
        5.0, gt=0, le=10, description="spacing of the affine atlas registration, mm"
    )
