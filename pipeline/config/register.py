"""Parameters of the register stage: MR to CT by ANTs SyN."""

from typing import Annotated, Literal

from pydantic import Field

from crossmodalnet.config import Config, IntTriple
from crossmodalnet.registration.quality import USUAL


class RegistrationConfig(Config):
    """Section `register`."""

    recipe: Literal["syn", "fast", "balanced", "thorough"] = Field(
        "syn",
        description="how a pair is registered; syn: ANTs by the keys transform to initialisations below; fast, "
        "balanced, thorough: exhaustive search, affine, then local cross-correlation at 3, 2 or 1.5 mm, see "
        "docs/registration.md",
    )
    transform: Literal["SyN", "SyNCC"] = Field(
        "SyN",
        description="transform; SyN: affine, then Mattes mutual information; SyNCC: local cross-correlation, slower",
    )
    working_spacing_mm: float = Field(
        5.0,
        gt=0,
        le=10,
        description="spacing at which transforms are estimated, mm; images are warped at the CT's own",
    )
    affine_iterations: IntTriple = Field(
        (100, 50, 10), description="affine iterations at a quarter, half and the full working resolution"
    )
    iterations: list[Annotated[int, Field(ge=0)]] = Field(
        [40, 30, 15], min_length=1, max_length=6, description="SyN iterations, coarse to fine"
    )
    initialisations: list[Literal["search", "centre_of_mass", "geometric_centre"]] = Field(
        ["search", "geometric_centre", "centre_of_mass"],
        min_length=1,
        description="starts of the registration; the next is tried when one fails or makes the pair worse",
    )
    seed: int = Field(1, ge=1, description="seed of the voxels at which the similarity is sampled")
    min_gain: float = Field(
        0.0,
        description="least rise of a pair's mutual information, nats; a pair with less is retried, then "
        "stops the stage",
    )
    warn_folded_share: float = Field(
        USUAL.folded_share, ge=0, le=1, description="share of folded voxels above which a pair is named"
    )
    warn_inverse_error_mm: float = Field(
        USUAL.inverse_error_mm,
        ge=0,
        description="mean error of the inverse deformation above which a pair is named, mm",
    )
    warn_shared_view: float = Field(
        USUAL.shared_view,
        ge=0,
        le=1,
        description="share of the smaller field of view below which, if the other shares no more, a pair is named",
    )
