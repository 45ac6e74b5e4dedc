"""What an adaptation is compared with: JADA without one of its parts, and the bounds below and above."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pipeline.config.adapt import TERMS

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
