"""Options of registration: section `register`."""

from typing import Annotated, Literal

from pydantic import Field

from crossmodalnet.config import Config

TransformName = Literal["SyN", "SyNCC", "Affine", "Centres"]


class RegistrationConfig(Config):
    """Section `register`.

    >>> RegistrationConfig(method="fast").seed
    1
    """

    method: Literal["syn", "fast", "balanced", "thorough"] = Field(
        "syn",
        description="method; syn: ANTs with the keys below; fast, balanced, thorough: search, affine, then local "
        "cross-correlation at 3, 2 or 1.5 mm",
    )
    transform: TransformName = Field(
        "SyN",
        description="transform; SyN: affine, then Mattes mutual information; SyNCC: cross-correlation; Affine alone; "
        "Centres of mass laid together",
    )
    working_spacing_mm: float = Field(
        5.0,
        ge=0.5,
        le=10,
        description="spacing at which transforms are estimated, mm; images are warped at the CT's spacing",
    )
    iterations: list[Annotated[int, Field(ge=0)]] = Field(
        [40, 30, 15], min_length=1, max_length=6, description="SyN iterations, coarse to fine"
    )
    seed: int = Field(1, ge=1, description="seed of the voxels at which the similarity is sampled")
    min_gain: float = Field(
        0.0, description="minimum gain in mutual information, nats; a pair below it is retried, then stops the stage"
    )
