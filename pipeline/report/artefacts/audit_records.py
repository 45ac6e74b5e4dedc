"""What stage `audit` found of the paper's claims, as typed records, and the form of its tables."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from crossmodalnet.theory.findings import StatementFinding, Verdict
from pipeline.comparison.titles import title_of

TEXT, NUMBER = ("text",), ("number",)
ESTIMATORS, STATES, MODES = ("copula", "knn"), ("trained", "initial"), ("paper", "harder", "uniform")

# By table, what each column holds: text, a number, or one of the words listed.
TABLES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "attention_properties": {
        "network": ("trained", "random"), "values": ("b", "a"), "similarity": ("dot", "cosine"),
        "property": ("asymmetry", "scaling", "permutation"), "layer": TEXT, "deviation": NUMBER,
    },
    "attention_cost": {
        "kind": ("full", "windowed"), "num_tokens": NUMBER, "channels": NUMBER, "flops": NUMBER,
        "seconds": NUMBER,
    },
    "attention_cost_fits": {
        "kind": ("full", "windowed"), "variable": ("tokens", "channels"),
        "quantity": ("operations", "seconds"), "exponent": NUMBER, "low": NUMBER, "high": NUMBER,
    },
    "approximation": {"function": TEXT, "channels": NUMBER, "depth": NUMBER, "error": NUMBER},
    "overfitting": {"step": NUMBER, "dice": NUMBER},
    "information": {
        "state": STATES, "pairs": ("registered", "shuffled"), "layer": NUMBER, "name": TEXT,
        "estimator": ESTIMATORS, "information": NUMBER, "low": NUMBER, "high": NUMBER,
    },
    "flow": {
        "state": STATES, "layer": NUMBER, "name": TEXT, "estimator": ESTIMATORS, "cmif": NUMBER,
        "low": NUMBER, "high": NUMBER,
    },
    "entropy": {
        "layer": NUMBER, "name": TEXT, "information": NUMBER, "entropy_ct": NUMBER, "entropy_mr": NUMBER,
    },
    "balancing_convex": {"mode": MODES, "step": NUMBER, "distance": NUMBER},
    "balancing_weights": {"mode": MODES, "epoch": NUMBER, "objective": TEXT, "weight": NUMBER},
    "balancing_gradients": {"mode": MODES, "weighted_norm": NUMBER, "smallest_norm": NUMBER},
    "generalisation": {"term": ("complexity", "bound", "gap"), "value": NUMBER},
    "sensitivity_bounds": {"part": TEXT, "log10_bound": NUMBER},
    "power_iteration": {"case": TEXT, "iteration": NUMBER, "ratio": NUMBER},
    "attention_growth": {"scale": NUMBER, "sensitivity": NUMBER},
    "robustness": {
        "disturbance": ("none", "noise", "bias field", "blur", "motion", "attack"), "level": NUMBER,
        "case": TEXT, "input_change": NUMBER, "output_change": NUMBER, "dice": NUMBER,
    },
})  # fmt: skip

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class AuditRecord:
    """The audit of one model: audit/<model>/.

    Attributes:
        model: name of the model.
        seed: seed of the training that was audited.
        findings: findings by the keys of `STATEMENTS`, in their order.
        tables: tables of `TABLES` that were written.
    """

    model: str
    seed: int
    findings: Mapping[str, StatementFinding]
    tables: Tables

    @property
    def title(self) -> str:
        """The model's name as printed."""
        return title_of(self.model)

    @property
    def applies(self) -> bool:
        """Whether any statement is about this network."""
        return set(self.counts) != {Verdict.NOT_APPLICABLE}

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many statements have each verdict, in the order of `Verdict`; none of them 0."""
        found = Counter(finding.verdict for finding in self.findings.values())
        return {verdict: found[verdict] for verdict in Verdict if found[verdict]}
