"""Which files of this project a module imports, directly or not, found without running anything.

What is imported for types alone, beneath `if TYPE_CHECKING:`, is left out: it never runs, so that no result depends
on it.
"""

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

PACKAGES = ("crossmodalnet", "pipeline", "stages")
TOP = Path(__file__).resolve().parents[2]


def closure(*modules: str) -> list[Path]:
    """List the project's source files that `modules` need, imports inside functions included.

    Returns:
        Paths relative to the top of the project, sorted.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [*_parents(module), *_imported(module)]
    return sorted(_source(module).relative_to(TOP) for module in found)


def imported(module: str) -> list[Path]:
    """List the project's source files that one module imports itself, relative to the top, sorted."""
    return sorted(_source(name).relative_to(TOP) for name in {*_imported(module)} - {*_parents(module)})


def _parents(module: str) -> tuple[str, ...]:
    """The packages that a module lies in, which run before it; a folder without `__init__.py` runs nothing."""
    packages = (module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1))
    return tuple(package for package in packages if _source(package).is_file())


@cache
def _source(module: str) -> Path:
    base = TOP.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def _imported(module: str) -> tuple[str, ...]:
    names: list[str] = []
    package = module if _source(module).name == "__init__.py" else module.rpartition(".")[0]
    for node in _running(ast.parse(_source(module).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if name.split(".")[0] in PACKAGES and _source(name).is_file())


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without what only a type checker reads; the `else` of such a block runs."""
    yield node
    for child in node.orelse if _for_types(node) else ast.iter_child_nodes(node):
        yield from _running(child)


def _for_types(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
