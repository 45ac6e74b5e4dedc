"""Parameters of the augmentation of training samples."""

from pydantic import Field, field_validator

from pipeline.common.params import FloatPair, Section


class AugmentParams(Section):
    """Section `augment`."""

    enabled: bool = Field(True, description="switch of the augmentation; false: samples are left as they are")
    affine_probability: float = Field(
        0.4, ge=0, le=1, description="probability of a rotation, scaling and shift"
    )
    rotation_degrees: float = Field(
        8.0, ge=0, le=180, description="largest rotation about each axis, degrees"
    )
    scale: float = Field(0.1, ge=0, lt=1, description="largest relative change of size per axis")
    shift_voxels: float = Field(2.0, ge=0, description="largest shift per axis, voxels of the working grid")
    elastic_probability: float = Field(
        0.1, ge=0, le=1, description="probability of a smooth free-form deformation"
    )
    elastic_spacing_voxels: float = Field(
        12.0, ge=2, description="spacing of the control points of the free-form deformation, voxels"
    )
    elastic_voxels: float = Field(
        2.5,
        ge=0,
        description="largest displacement of a control point of the free-form deformation per axis, voxels",
    )
    intensity_probability: float = Field(
        0.15, ge=0, le=1, description="probability of each change of intensity, for each modality on its own"
    )
    gamma: FloatPair = Field((0.7, 1.5), description="range of the exponent on intensities")
    contrast: float = Field(0.15, ge=0, lt=1, description="largest relative change of the intensity scale")
    brightness: float = Field(0.1, ge=0, description="largest change of intensity; images range from 0 to 1")
    noise: float = Field(0.05, ge=0, description="largest standard deviation of added noise")
    smoothing_voxels: float = Field(0.8, ge=0, description="largest standard deviation of the blur, voxels")
    bias_field: float = Field(0.15, ge=0, description="largest coefficient of the MR's log bias field")

    displacement_probability: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that the MR of a pair is moved rigidly against CT and label, as a registration that "
        "went wrong would; 0: off, as it always is for single images, for samples that lost a modality, and for a "
        "network of one stream",
    )
    displacement_voxels: float = Field(
        4.0,
        ge=0,
        description="largest shift of a displaced MR against its CT, voxels of the working grid; the length "
        "is drawn uniformly from 0 to this",
    )
    displacement_degrees: float = Field(
        10.0,
        ge=0,
        le=180,
        description="largest rotation of a displaced MR against its CT, degrees; the angle is drawn "
        "uniformly from 0 to this",
    )

    @field_validator("gamma")
    @classmethod
    def _positive_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("gamma must be two positive numbers, the smaller first")
        return value
