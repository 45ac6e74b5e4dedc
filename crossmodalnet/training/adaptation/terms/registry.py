"""The terms of JADA by name: every module of this room is one, called by the term's name.

There is no list to keep: a term's row is its strength among the parameters (`pipeline/config/adapt.py`).
"""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from crossmodalnet.training.adaptation import terms
from crossmodalnet.training.adaptation.common.term import Term

MODULES = {
    module.name: f"{terms.__name__}.{module.name}"
    for module in pkgutil.iter_modules(terms.__path__)
    if module.name != __name__.rpartition(".")[2]
}


def _term(name: str, module: str) -> type[Term]:
    found = [
        value
        for value in vars(import_module(module)).values()
        if isinstance(value, type) and issubclass(value, Term) and value.__module__ == module
    ]
    if [term.name for term in found] != [name]:
        raise ImportError(f"{module} must define one subclass of Term, and its name must be {name!r}")
    return found[0]


TERMS: Mapping[str, type[Term]] = MappingProxyType(
    {name: _term(name, module) for name, module in sorted(MODULES.items())}
)
