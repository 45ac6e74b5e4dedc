"""Parameters of the augmentation of training samples."""

from pydantic import Field, model_validator

from crossmodalnet import AugmentationSettings
from crossmodalnet.config import Config, FloatPair
from pipeline.config.params import option, settings_from

# The library's options come through its front door, as those of the networks do (`pipeline/config/network.py`).


class AugmentConfig(Config):
    """Section `augment`."""

    enabled: bool = Field(True, description="switch of the augmentation; false: samples are left as they are")
    affine_probability: float = option(AugmentationSettings, "affine_probability")
    rotation_degrees: float = option(AugmentationSettings, "rotation_degrees")
    scale: float = option(AugmentationSettings, "scale")
    shift_voxels: float = option(AugmentationSettings, "shift_voxels")
    elastic_probability: float = option(AugmentationSettings, "elastic_probability")
    elastic_spacing_voxels: float = option(AugmentationSettings, "elastic_spacing_voxels")
    elastic_voxels: float = option(AugmentationSettings, "elastic_voxels")
    intensity_probability: float = option(AugmentationSettings, "intensity_probability")
    gamma: FloatPair = option(AugmentationSettings, "gamma")
    contrast: float = option(AugmentationSettings, "contrast")
    brightness: float = option(AugmentationSettings, "brightness")
    noise: float = option(AugmentationSettings, "noise")
    smoothing_voxels: float = option(AugmentationSettings, "smoothing_voxels")
    bias_field: float = option(AugmentationSettings, "bias_field")

    displacement_probability: float = option(AugmentationSettings, "displacement_probability")
    displacement_voxels: float = option(AugmentationSettings, "displacement_voxels")
    displacement_degrees: float = option(AugmentationSettings, "displacement_degrees")

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> "AugmentConfig":
        self.settings()
        return self

    def settings(self) -> AugmentationSettings:
        """How samples are changed, for the library; whether they are, `enabled` says.

        Raises:
            ValueError: a rule of the library's is broken.
        """
        return settings_from(self, AugmentationSettings)
