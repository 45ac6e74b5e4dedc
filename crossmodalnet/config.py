"""The base of all options: frozen, strict models that reject unknown keys."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Options with bounds and descriptions; each section of `params.yaml` is one.

    Raises:
        pydantic.ValidationError: an unknown key, a wrong type or an impossible value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# YAML has lists only; the elements stay strict.
IntTriple = Annotated[tuple[int, int, int], Field(strict=False)]
FloatTriple = Annotated[tuple[float, float, float], Field(strict=False)]
FloatPair = Annotated[tuple[float, float], Field(strict=False)]
