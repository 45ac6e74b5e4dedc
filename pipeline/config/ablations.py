"""Ablations of CrossModalNet: what each takes away from, or changes in, section `network.crossmodalnet`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

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
