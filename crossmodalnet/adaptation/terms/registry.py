"""The terms of JADA by name: a row for each, in the order of the curves."""

from collections.abc import Mapping
from types import MappingProxyType

from crossmodalnet.adaptation.common.term import Term
from crossmodalnet.adaptation.terms.betti import BettiTerm
from crossmodalnet.adaptation.terms.conditional import ConditionalTerm
from crossmodalnet.adaptation.terms.marginal import MarginalTerm
from crossmodalnet.adaptation.terms.output import OutputTerm
from crossmodalnet.adaptation.terms.self_training import SelfTrainingTerm
from crossmodalnet.adaptation.terms.topology import TopologyTerm
from crossmodalnet.adaptation.terms.volumes import VolumesTerm

_ROWS: tuple[type[Term], ...] = (
    MarginalTerm,
    ConditionalTerm,
    OutputTerm,
    SelfTrainingTerm,
    TopologyTerm,
    VolumesTerm,
    BettiTerm,
)

TERMS: Mapping[str, type[Term]] = MappingProxyType({term.name: term for term in _ROWS})
