"""Parameters of the search for learning rates."""

from typing import Annotated

from pydantic import Field, field_validator

from crossmodalnet.config import Config

Rate = Annotated[float, Field(gt=0)]


class TuneConfig(Config):
    """Section `tune`."""

    models: list[str] = Field([], description="networks to try learning rates on; [] : no search")
    learning_rates: list[Rate] = Field(
        [2e-3, 4e-3, 8e-3], min_length=1, description="learning rates to try on each network of tune.models"
    )
    epochs: int = Field(8, ge=1, description="passes over the training pairs of each trial")

    @field_validator("models", "learning_rates")
    @classmethod
    def _different(cls, value: list[object]) -> list[object]:
        if len(set(value)) != len(value):
            raise ValueError("entries must differ")
        return value
