"""Define the base of all options: frozen, strict models that reject unknown keys."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Options with bounds and descriptions; each section of `params.yaml` is one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NetworkConfig(Config):
    """Options that all networks share."""

    lr: float | None = Field(None, gt=0, description="learning rate of this network; null: train.lr")

    @property
    def offset_rate(self) -> float:
        """Return the learning rate of deformable offsets relative to the network's; 1 without offsets."""
        return 1.0

    def options(self) -> dict[str, Any]:
        """Return the options that build the network, without learning rates."""
        return self.model_dump(exclude={"lr", "offset_lr_factor"})


# YAML has no tuples; the elements stay strict.
IntTriple = Annotated[tuple[int, int, int], Field(strict=False)]
FloatTriple = Annotated[tuple[float, float, float], Field(strict=False)]
FloatPair = Annotated[tuple[float, float], Field(strict=False)]
