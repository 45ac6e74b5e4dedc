"""Load the checked statements of the paper from `statements.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType


@dataclass(frozen=True)
class Statement:
    """A statement of the paper, for readers who have not read it."""

    number: str  # as the paper prints it
    group: str  # key of `GROUPS`, and name of the module whose `check` gives the finding
    claim: str  # content in one sentence
    check: str  # computation that checks it
    rule: str  # by which the verdict follows from the numbers
    breaks: str = ""  # the step of the paper's proof that breaks where the verdict is against the paper


GROUPS: Mapping[str, str] = MappingProxyType({
    "attention": "Cross attention",
    "blocks": "Blocks and the deformable operator",
    "cost": "What attention costs",
    "approximation": "What the network can represent",
    "flow": "Information flow between CT and MR",
    "balancing": "Balancing of the losses",
    "generalisation": "From training to new patients",
    "lipschitz": "How sensitive the network can be",
    "robustness": "Robustness to disturbed images",
})  # fmt: skip

_ROWS = tomllib.loads((files(__package__) / "statements.toml").read_text("utf-8"))
# By key: `theorem_2_1_2` is Theorem 2.1.2.
STATEMENTS: Mapping[str, Statement] = MappingProxyType({key: Statement(**row) for key, row in _ROWS.items()})
