"""List the ablations and adaptation variants and the parameters that they change."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from crossmodalnet.training.adaptation.config import TERMS

ATLAS = "atlas"
OURS = "crossmodalnet"


class Variant(NamedTuple):
    """A variant of CrossModalNet or its adaptation: title for print, and changed keys."""

    title: str
    changes: Mapping[str, Any]


# Ablations: changes to section `network.crossmodalnet`.
ABLATIONS: Mapping[str, Variant] = {
    "swin_cross": Variant("Swin and cross attention, not alignment", {"swin": True, "cross": True, "align": False}),
    "no_cross": Variant("without cross attention", {"cross": False, "align": False}),
    "no_deformable": Variant("without deformable operator", {"deformable": False}),
    "conv_only": Variant("without attention", {"swin": False, "cross": False, "align": False}),
    "ct_only": Variant("CT only", {"streams": "ct"}),
    "mr_only": Variant("MR only", {"streams": "mr"}),
    "standard_residual": Variant("standard residual", {"residual": "standard"}),
    "values_a": Variant("values of the keys", {"values": "a"}),
    "cosine": Variant("cosine similarity", {"similarity": "cosine"}),
}

# Trained without adaptation: on source labels, and on target labels.
SOURCE_ONLY, SUPERVISED = "source_only", "supervised"

# Variants of the adaptation: changes to section `adapt`.
ADAPTATIONS: Mapping[str, Variant] = {
    SOURCE_ONLY: Variant("source only", {}),
    SUPERVISED: Variant("supervised on the target", {}),
    "no_appearance": Variant("JADA without matched intensities", {"appearance": 0.0}),
    "no_marginal": Variant("JADA without marginal alignment", {"marginal": 0.0}),
    "no_conditional": Variant("JADA without conditional alignment", {"conditional": 0.0}),
    "no_output": Variant("JADA without output alignment", {"output": 0.0}),
    "no_self_training": Variant("JADA without self-training", {"self_training": 0.0}),
    "no_topology": Variant("JADA without spanning trees", {"topology": 0.0}),
    "marginal_only": Variant(
        "marginal alignment alone", {"appearance": 0.0, **{t: 0.0 for t in TERMS if t != "marginal"}}
    ),
    "volumes": Variant("JADA with relative volumes", {"volumes": 1.0}),
}


def method_of(variant: str) -> str:
    """Return the folder name for runs of an ablation or adaptation variant."""
    return f"{OURS}-{variant}"


def is_adaptation(name: str) -> bool:
    """Return True for a variant of the adaptation."""
    return name.startswith(f"{OURS}-") and name.removeprefix(f"{OURS}-") in ADAPTATIONS


def is_ablation(name: str) -> bool:
    """Return True for an ablation of CrossModalNet."""
    return name.startswith(f"{OURS}-") and not is_adaptation(name)
