"""The groups of checks by name: a plain dict."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from crossmodalnet.theory import (
    approximation,
    attention,
    balancing,
    blocks,
    cost,
    flow,
    generalisation,
    lipschitz,
    robustness,
)
from crossmodalnet.theory.findings import CheckOutcome
from crossmodalnet.theory.subject import AuditSettings, AuditSubject

Check = Callable[[AuditSubject, AuditSettings], CheckOutcome]

CHECKS: Mapping[str, Check] = MappingProxyType({
    "attention": attention.check,
    "blocks": blocks.check,
    "cost": cost.check,
    "approximation": approximation.check,
    "flow": flow.check,
    "balancing": balancing.check,
    "generalisation": generalisation.check,
    "lipschitz": lipschitz.check,
    "robustness": robustness.check,
})  # fmt: skip
