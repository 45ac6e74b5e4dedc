"""Section `augment`: random changes of training samples."""

from pydantic import Field

from crossmodalnet.config import Config


class AugmentationConfig(Config):
    """Section `augment`.

    >>> AugmentationConfig(rotation_degrees=15.0).rotation_degrees
    15.0
    """

    enabled: bool = Field(True, description="augmentation; false: samples stay as they are")
    affine_probability: float = Field(0.4, ge=0, le=1, description="probability of rotation, scaling and shift")
    rotation_degrees: float = Field(8.0, ge=0, le=180, description="largest rotation about each axis, degrees")
    scale: float = Field(0.1, ge=0, lt=1, description="largest relative change of size per axis")
    shift_voxels: float = Field(2.0, ge=0, description="largest shift per axis, voxels of the working grid")
    elastic_probability: float = Field(0.1, ge=0, le=1, description="probability of a free-form deformation")
    elastic_spacing_voxels: float = Field(12.0, ge=2, description="spacing of the deformation's control points, voxels")
    elastic_voxels: float = Field(2.5, ge=0, description="largest displacement of a control point per axis, voxels")
    intensity_probability: float = Field(
        0.15, ge=0, le=1, description="probability of each change of intensity, per modality"
    )
    misregistration_probability: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that the MR of a pair is shifted and rotated against CT and label; 0: off",
    )
    misregistration_voxels: float = Field(4.0, ge=0, description="largest shift of a misregistered MR, voxels")
    misregistration_degrees: float = Field(
        10.0, ge=0, le=180, description="largest rotation of a misregistered MR, degrees"
    )
