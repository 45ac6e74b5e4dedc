"""What JADA does and how much: plain numbers, without the pipeline's parameters."""

from dataclasses import dataclass
from typing import Literal

TERMS = ("marginal", "conditional", "output", "self_training", "topology", "volumes", "betti")
REVERSED = frozenset({"marginal", "conditional", "output"})


@dataclass(frozen=True)
class AdaptationSettings:
    """Strengths of JADA's terms and the sizes of their parts.

    A term of strength 0 is not computed. Strengths multiply the gradients that terms send to features and
    probabilities; discriminators always learn at full strength.

    Attributes:
        marginal: strength of the patch discriminators on the bottleneck and the decoder level.
        conditional: strength of the alignment of features given classes.
        output: strength of the discriminator on the entropy maps of the output.
        self_training: strength of the network's own labels, where it is sure of them.
        topology: strength of the spanning trees of source features.
        volumes: strength of the mean shares of left blood, right blood and myocardium in the target, against the
            source's.
        betti: strength of the Betti numbers of the target's structures.
        cap: largest norm of a term's gradient where it branches off, over the supervised one's there.
        confidence: probability from which the network's own labels count, 0 to below 1.
        conditional_by: a discriminator (CDAN), or a kernel (joint maximum mean discrepancy).
        decoder_level: decoder level that is aligned beside the bottleneck; 0 is the finest.
        voxels_per_class: voxels drawn per step, domain and class for the conditional term, at most.
        tree_voxels_per_class: voxels drawn per class for the spanning trees, at most.
        map_dim: largest dimension of the map of feature and class before it is randomised.
        width: channels of the discriminators.
    """

    marginal: float = 0.5
    conditional: float = 0.1
    output: float = 1.0
    self_training: float = 1.0
    topology: float = 1.0
    volumes: float = 0.0
    betti: float = 0.0
    cap: float = 1.0
    confidence: float = 0.9
    conditional_by: Literal["discriminator", "kernel"] = "discriminator"
    decoder_level: int = 0
    voxels_per_class: int = 64
    tree_voxels_per_class: int = 16
    map_dim: int = 4096
    width: int = 32

    def strength(self, term: str) -> float:
        """Strength of a term, positive or zero."""
        return float(getattr(self, term))

    def signed(self, term: str) -> float:
        """Strength with its sign on the way back: adversarial terms are reversed."""
        return -self.strength(term) if term in REVERSED else self.strength(term)

    def active(self) -> tuple[str, ...]:
        """The terms that are computed, in the order of `TERMS`."""
        return tuple(term for term in TERMS if self.strength(term) > 0)
