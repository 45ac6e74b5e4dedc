"""Parameters of the compare stage: intervals and tests between methods."""

from pydantic import Field

from crossmodalnet.config import Config


class CompareConfig(Config):
    """Section `compare`."""

    alpha: float = Field(
        0.05, gt=0, lt=0.5, description="a difference is supported up to this p-value after Holm's correction"
    )
    bootstrap_samples: int = Field(
        10000,
        ge=100,
        le=1_000_000,
        description="resamplings of subjects and seeds for 95 % intervals and ranks",
    )
    seed: int = Field(0, ge=0, description="seed of the resampling")
