"""Parameters of the evaluate and atlas stages: inference and metrics."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from crossmodalnet.config import Config

Shift = Annotated[float, Field(ge=0)]


class EvaluateConfig(Config):
    """Section `evaluate`."""

    overlap: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of a patch that neighbouring windows of the sliding window have in common",
    )
    keep_largest_component: bool = Field(
        True,
        description="only the largest connected piece of each predicted structure is kept; the atlas stays as it is",
    )
    nsd_tolerance_mm: float = Field(
        3.0,
        gt=0,
        le=50,
        description="distance up to which surfaces agree in normalised surface Dice, mm; above the voxel size",
    )
    misregistration_mm: list[Shift] = Field(
        [0.0, 5.0, 10.0, 15.0],
        description="shifts of the MR against the CT that Dice is measured at, ascending from 0, mm; []: not measured",
    )
    misregistration_degrees: float = Field(
        10.0,
        ge=0,
        le=180,
        description="rotation of the MR at the largest shift of misregistration_mm, in proportion less at "
        "others, degrees",
    )
    bootstrap_samples: int = Field(
        10000, ge=100, le=1_000_000, description="resamplings of the test pairs for the 95 % intervals"
    )
    seed: int = Field(
        0,
        ge=0,
        description="seed of the resampling, and of the directions in which MRs are shifted and rotated",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that the network runs on; auto: a GPU if there is one"
    )

    @field_validator("misregistration_mm")
    @classmethod
    def _ascending(cls, value: list[float]) -> list[float]:
        # What is lost by misregistration is lost against 0 mm.
        if value and (value[0] != 0 or sorted(set(value)) != value):
            raise ValueError(f"shifts must ascend from 0, got {value}")
        return value
