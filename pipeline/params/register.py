"""Parameters of the register stage: MR to CT by ANTs SyN."""

from typing import Literal

from pydantic import Field

from pipeline.params.base import Section


class RegisterParams(Section):
    """Section `register`."""

    transform: Literal["SyN", "SyNCC"] = Field(
        "SyN", description="SyN: affine, then Mattes mutual information; SyNCC: local cross-correlation, much slower"
    )
    working_spacing_mm: float = Field(
        4.0, gt=0, le=10, description="transforms are estimated at this spacing, images warped at the CT's own"
    )
    iterations: list[int] = Field([40, 20, 10], min_length=1, description="SyN iterations, coarse to fine")
    seed: int = Field(1, ge=1, description="of the metric's sampling")
    workers: int = Field(0, ge=0, description="pairs registered at once; 0: one per core")
    min_gain: float = Field(
        0.0, description="a pair whose mutual information rises by less is retried, then stops the stage"
    )
