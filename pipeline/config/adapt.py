"""Parameters of the domain adaptation: whether there is one, what is adapted to what, and how strongly JADA pulls."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from crossmodalnet import AdaptationSettings
from crossmodalnet.config import Config
from pipeline.config.params import option, settings_from


# The library's options come through its front door, by which no stage depends on the terms' code: what a stage depends
# on is the values, and these stand in params.yaml.
@dataclass(frozen=True)
class _OfTerm:
    """Marks the strength of a term among the parameters."""


# The strength of the term of JADA that has the field's name (`crossmodalnet/training/adaptation/terms/registry.py`).
Strength = Annotated[float, Field(ge=0), _OfTerm()]


class AdaptationConfig(Config):
    """Section `adapt`, as trainings read it: they have the target's images before them, wherever these come from."""

    enabled: bool = Field(
        False, description="switch of the adaptation to a target domain, whose labels training never sees"
    )
    scenario: Literal["cohort", "ct_to_mr", "mr_to_ct"] = Field(
        "cohort",
        description="scenario of the adaptation; cohort: from the pairs of the cohort to those of "
        "`target`; ct_to_mr, mr_to_ct: from the "
        "cohort's labelled images of one modality to its images of the other, unpaired",
    )
    # Left unread here, so that no training depends on the options of a cohort: `pipeline/config/target.py`.
    target: object = Field(None, description="the target domain of the scenario cohort")
    start: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of the training that is of the source alone; from there on the terms' strengths rise "
        "from 0 (Ganin's ramp), when the network has something to align",
    )
    every: int = Field(
        2,
        ge=1,
        description="interval of steps, from `start` on, at which target samples are seen beside the "
        "source's; 1: in each",
    )
    appearance: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of the source samples, in steps that see the target, that take on the "
        "intensities of a target image "
        "(histogram matching)",
    )
    marginal: Strength = Field(
        0.5, description="strength of the patch discriminators on bottleneck and decoder level; 0: off"
    )
    conditional: Strength = Field(
        0.1, description="strength of the alignment of features given classes (CDAN); 0: off"
    )
    conditional_by: Literal["discriminator", "kernel"] = option(AdaptationSettings, "conditional_by")
    output: Strength = Field(
        1.0, description="strength of the discriminator on the output's entropy maps; 0: off"
    )
    self_training: Strength = Field(
        1.0,
        description="strength of the network's own labels of the target where it is sure of them; 0: off",
    )
    confidence: float = option(AdaptationSettings, "confidence")
    topology: Strength = Field(
        1.0, description="strength that keeps the spanning trees of source features; 0: off"
    )
    topology_every: int = option(AdaptationSettings, "topology_every")
    teacher_decay: float = option(AdaptationSettings, "teacher_decay")
    volumes: Strength = Field(
        0.0,
        description="strength that gives left blood, right blood and myocardium of the target the source's shares, "
        "on average; 0: off",
    )
    betti: Strength = Field(
        0.0, description="strength of the Betti numbers of the target's structures; 0: off"
    )
    betti_every: int = option(AdaptationSettings, "betti_every")
    cap: float = option(AdaptationSettings, "cap")
    decoder_level: int = option(AdaptationSettings, "decoder_level")
    voxels_per_class: int = option(AdaptationSettings, "voxels_per_class")
    tree_voxels_per_class: int = option(AdaptationSettings, "tree_voxels_per_class")
    map_dim: int = option(AdaptationSettings, "map_dim")
    width: int = option(AdaptationSettings, "width")
    discriminator_lr: float = Field(1e-3, gt=0, description="learning rate of the discriminators (Adam)")
    entropy_weight: float = Field(
        1.0,
        ge=0,
        description="weight of the target's entropy (0 to 1) in the choice of the weights to keep: those with the "
        "best validation Dice of the source minus this times the entropy",
    )

    def settings(self) -> AdaptationSettings:
        """The sizes of the terms' parts, for the library."""
        return settings_from(self, AdaptationSettings)

    def strengths(self) -> dict[str, float]:
        """The terms' strengths by name, for the library."""
        return {name: getattr(self, name) for name in TERMS}


# Names of the terms, without the library's code of them: what only names terms depends on no network.
TERMS = tuple(name for name, field in AdaptationConfig.model_fields.items() if _OfTerm() in field.metadata)
