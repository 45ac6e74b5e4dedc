"""Parameters of the training objectives."""

from typing import Literal

from pydantic import Field, field_validator

from crossmodalnet.config import Config


class LossesConfig(Config):
    """Section `losses`."""

    objectives: list[Literal["dice", "ce"]] = Field(
        ["dice", "ce"], min_length=1, description="losses that are minimised: soft Dice, cross-entropy"
    )
    balancing: Literal["paper", "harder", "uniform"] = Field(
        "paper",
        description="weights of the objectives; paper: Eq. 23, the smaller loss weighs more; "
        "harder: the larger one does; uniform: equal",
    )
    alpha: float = Field(0.5, ge=0, description="sharpness of the balancing, alpha of Eq. 23")
    cmif: float = Field(
        0.0,
        ge=0,
        description="weight of a penalty on falling information flow between CT and MR (Def. 7, Theorem 2.7), added "
        "to the balanced sum; 0: off; for networks of two streams only",
    )
    deep_supervision: bool = Field(
        True,
        description="learning from coarser outputs too: crossmodalnet, and nnformer, mednext and resenc_unet as they "
        "were published; false: no network does",
    )

    @field_validator("objectives")
    @classmethod
    def _different(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError("objectives must differ")
        return value
