"""The sizes of JADA's parts: plain numbers, without the pipeline's parameters."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class AdaptationSettings:
    """Sizes, forms and intervals of JADA's parts; which terms there are, their strengths say.

    >>> import crossmodalnet
    >>> crossmodalnet.AdaptationSettings(width=16).conditional_by
    'discriminator'
    """

    cap: float = field(
        default=1.0,
        metadata={
            "gt": 0,
            "description": "largest norm of a term's gradient on features, over the norm of the supervised objectives' "
            "gradient there",
        },
    )
    confidence: float = field(
        default=0.9,
        metadata={"ge": 0, "lt": 1, "description": "probability from which the network's own labels count"},
    )
    conditional_by: Literal["discriminator", "kernel"] = field(
        default="discriminator",
        metadata={"description": "form of the conditional term: a discriminator, or a kernel (JMMD)"},
    )
    decoder_level: int = field(
        default=0,
        metadata={"ge": 0, "description": "decoder level that is aligned; 0 is the finest"},
    )
    voxels_per_class: int = field(
        default=64,
        metadata={
            "ge": 1,
            "description": "voxels drawn per step, domain and class for the conditional term, at most",
        },
    )
    tree_voxels_per_class: int = field(
        default=16,
        metadata={"ge": 2, "description": "voxels of each class in the spanning trees, at most"},
    )
    topology_every: int = field(
        default=4,
        metadata={
            "ge": 1,
            "description": "interval, in steps that see the target, between spanning trees; 1: in each",
        },
    )
    teacher_decay: float = field(
        default=0.95,
        metadata={
            "ge": 0,
            "lt": 1,
            "description": "decay of the slowly moving source encoder, whose spanning trees are kept",
        },
    )
    betti_every: int = field(
        default=4,
        metadata={
            "ge": 1,
            "description": "interval, in steps that see the target, between looks at Betti numbers; 1: in each",
        },
    )
    map_dim: int = field(
        default=4096,
        metadata={
            "ge": 1,
            "description": "largest dimension of the map of feature and class; a larger one is randomised to it",
        },
    )
    width: int = field(default=32, metadata={"ge": 1, "description": "channels of the discriminators"})
