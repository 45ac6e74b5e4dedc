"""Entries of docstrings are understood alone: each begins with its noun, not with what the line before is about."""

import ast
import re
from collections.abc import Iterator

import pytest

from pipeline.runtime.paths import TOP

PACKAGES = ("crossmodalnet", "pipeline", "stages")
SECTIONS = ("Args", "Attributes", "Returns", "Yields")
NAMELESS = ("Returns", "Yields")  # sections without a name before each entry
DEPENDS_ON_ANOTHER_LINE = re.compile(
    r"(of|its|their|theirs|likewise|the same as|the same on|which|whose|as many)\b", re.IGNORECASE
)


def docstrings(text: str) -> Iterator[tuple[str, str]]:
    """The name of every documented class and function, the module's own left out, with its docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, ast.get_docstring(node) or ""


def entries(docstring: str) -> Iterator[str]:
    """The text of each entry without its name, continuation lines left out."""
    section, indent = "", 0
    for line in docstring.splitlines():
        stripped, depth = line.strip(), len(line) - len(line.lstrip())
        if depth == 0 and stripped:
            section, indent = stripped.removesuffix(":") if stripped.endswith(":") else "", 0
        elif (
            section in SECTIONS and stripped and (not indent or (depth == indent and section not in NAMELESS))
        ):
            indent = depth
            yield stripped if section in NAMELESS else re.sub(r"^[*\w, ]+(\(.*?\))?: *", "", stripped)


def dependent(text: str) -> list[str]:
    found = ((name, entry) for name, doc in docstrings(text) for entry in entries(doc))
    return [f"{name}: {entry}" for name, entry in found if DEPENDS_ON_ANOTHER_LINE.match(entry)]


@pytest.mark.parametrize("package", PACKAGES)
def test_entries_of_docstrings_begin_with_their_noun(package: str) -> None:
    found = {
        str(file.relative_to(TOP)): lines
        for file in sorted((TOP / package).rglob("*.py"))
        if (lines := dependent(file.read_text("utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("section", "bad"),
    [
        ("Args:\n        channels: of the output.", True),
        ("Args:\n        a: one.\n        b: theirs, of two\n            lines.", True),
        ("Attributes:\n        x, y: its axes.", True),
        ("Returns:\n        Its length.", True),
        ("Args:\n        channels: channels of the output,\n            of which there are two.", False),
        ("Returns:\n        Length\n        of the vector.", False),
        ("Raises:\n        ValueError: of no use.", False),
    ],
)
def test_an_entry_that_depends_on_another_line_is_seen(section: str, bad: bool) -> None:
    assert bool(dependent(f'def f():\n    """Do.\n\n    {section}\n    """\n')) == bad
