"""The sizes of JADA's parts: plain numbers, without the pipeline's parameters."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AdaptationSettings:
    """Sizes, forms and intervals of JADA's parts; which terms there are, their strengths say.

    Attributes:
        cap: largest norm of a term's gradient where it branches off, over the supervised one's there.
        confidence: probability from which the network's own labels count, 0 to below 1.
        conditional_by: a discriminator (CDAN), or a kernel (joint maximum mean discrepancy).
        decoder_level: decoder level that is aligned beside the bottleneck; 0 is the finest.
        voxels_per_class: voxels drawn per step, domain and class for the conditional term, at most.
        tree_voxels_per_class: voxels drawn per class for the spanning trees, at most.
        topology_every: interval, in steps that see the target, between spanning trees.
        teacher_decay: decay of the slowly moving network whose spanning trees are kept, 0 to below 1.
        betti_every: interval, in steps that see the target, between looks at Betti numbers.
        map_dim: largest dimension of the map of feature and class before it is randomised.
        width: channels of the discriminators.

    >>> import crossmodalnet
    >>> crossmodalnet.AdaptationSettings(width=16).conditional_by
    'discriminator'
    """

    cap: float = 1.0
    confidence: float = 0.9
    conditional_by: Literal["discriminator", "kernel"] = "discriminator"
    decoder_level: int = 0
    voxels_per_class: int = 64
    tree_voxels_per_class: int = 16
    topology_every: int = 4
    teacher_decay: float = 0.95
    betti_every: int = 4
    map_dim: int = 4096
    width: int = 32
