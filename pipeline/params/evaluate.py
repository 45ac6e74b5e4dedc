"""Parameters of the evaluate and atlas stages: inference and metrics."""

from typing import Literal

from pydantic import Field

from pipeline.params.base import Section


class EvaluateParams(Section):
    """Section `evaluate`."""

    overlap: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of a patch that neighbouring windows of the sliding window have in common",
    )
    keep_largest_component: bool = Field(
        True,
        description="keep the largest connected piece of each predicted structure; the atlas stays as it is",
    )
    nsd_tolerance_mm: float = Field(
        3.0,
        gt=0,
        le=50,
        description="normalised surface Dice: surfaces closer than this agree; above the voxel size, mm",
    )
    bootstrap_samples: int = Field(
        10000, ge=100, le=1_000_000, description="resamplings of the test pairs for the 95 % intervals"
    )
    seed: int = Field(0, ge=0, description="of the resampling")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the network runs; auto: a GPU if there is one"
    )
