"""Names of models, ablations and adaptation variants, and what each variant changes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pipeline.config.sections import TERMS

ATLAS = "atlas"
OURS = "crossmodalnet"
# What an adaptation is compared with, as `adaptations` of params.yaml lists them.
ADAPTATION_KEYS = (
    "source_only", "supervised", "no_appearance", "no_marginal", "no_conditional", "no_output", "no_self_training",
    "no_topology", "marginal_only", "kernel", "volumes", "betti",
)  # fmt: skip


def method_of(variant: str) -> str:
    """Give the folder name of the runs of an ablation, or of what an adaptation is compared with."""
    return f"{OURS}-{variant}"


def is_adaptation(name: str) -> bool:
    """Tell whether a method is what an adaptation is compared with."""
    return name.removeprefix(f"{OURS}-") in ADAPTATION_KEYS and name.startswith(f"{OURS}-")


def is_ablation(name: str) -> bool:
    """Tell whether a method is an ablation of our network."""
    return name.startswith(f"{OURS}-") and not is_adaptation(name)


Ablation = Literal[
    "no_cross", "no_deformable", "conv_only", "ct_only", "mr_only", "standard_residual", "values_a", "cosine"
]

ABLATIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "no_cross": {"cross": False},
        "no_deformable": {"deformable": False},
        "conv_only": {"swin": False, "cross": False},
        "ct_only": {"streams": "ct"},
        "mr_only": {"streams": "mr"},
        "standard_residual": {"residual": "standard"},
        "values_a": {"values": "a"},
        "cosine": {"similarity": "cosine"},
    }
)


Adaptation = Literal[
    "source_only", "supervised", "no_appearance", "no_marginal", "no_conditional", "no_output", "no_self_training",
    "no_topology", "marginal_only", "kernel", "volumes", "betti",
]  # fmt: skip

# Trained without adaptation: on the source's labels, and on the target's.
SOURCE_ONLY, SUPERVISED = "source_only", "supervised"

# What the others change in section `adapt`.
ADAPTATIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        SOURCE_ONLY: {},
        SUPERVISED: {},
        "no_appearance": {"appearance": 0.0},
        "no_marginal": {"marginal": 0.0},
        "no_conditional": {"conditional": 0.0},
        "no_output": {"output": 0.0},
        "no_self_training": {"self_training": 0.0},
        "no_topology": {"topology": 0.0},
        "marginal_only": {"appearance": 0.0, **{term: 0.0 for term in TERMS if term != "marginal"}},
        "kernel": {"conditional_by": "kernel"},
        "volumes": {"volumes": 1.0},
        "betti": {"betti": 0.1},
    }
)
