"""Parameters of the profile stage: what a network costs."""

from typing import Literal

from pydantic import Field

from crossmodalnet.config import Config


class ProfileConfig(Config):
    """Section `profile`."""

    repetitions: int = Field(
        7,
        ge=3,
        le=1000,
        description="timed steps and timed cases, each beside one of the reference network",
    )
    warmup: int = Field(2, ge=1, le=100, description="untimed steps and cases before the timed ones")
    max_seconds: float = Field(
        30.0,
        gt=0,
        description="time spent on steps, and again on cases, s; after it no further one is timed, once "
        "there are three",
    )
    seed: int = Field(0, ge=0, description="seed of the weights and of the random images and labels")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that the network is measured on; auto: a GPU if there is one"
    )
    num_threads: int = Field(0, ge=0, description="CPU threads of the measuring process; 0: one per core")
