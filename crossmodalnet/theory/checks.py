"""The groups of checks by name: the module of this room that is called as the group has its `check`.

There is no list to keep: which groups there are, the statements say (`statements.py`).
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from crossmodalnet.theory.findings import CheckOutcome
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.statements import STATEMENTS
from crossmodalnet.theory.subject import AuditSubject

Check = Callable[[AuditSubject, AuditSettings], CheckOutcome]


def _check(group: str) -> Check:
    check: Check = import_module(f"{__package__}.{group}").check
    return check


CHECKS: Mapping[str, Check] = MappingProxyType(
    {group: _check(group) for group in dict.fromkeys(statement.group for statement in STATEMENTS.values())}
)
