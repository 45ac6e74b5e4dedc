"""The documents name files, tests and commands that exist."""

import ast
import re
from pathlib import Path

import pytest

from crossmodalnet.theory.statements import STATEMENTS, Statement
from pipeline.runtime.paths import TOP
from tests.crossmodalnet.theory.test_findings import NUMBERED

PAGES = [
    *sorted((TOP / "docs").glob("*.md")),
    *(TOP / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
FOLDERS = ("crossmodalnet/", "pipeline/", "stages/", "tests/", "docs/", "benchmarks/", "tools/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_in_backticks_exist(page: Path) -> None:
    named = [text for text in re.findall(r"`([^`\s]+)`", page.read_text("utf-8")) if text.startswith(FOLDERS)]
    missing = [
        text
        for text in named
        if not any(c in text for c in "<*{") and not (TOP / text.split("::")[0]).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text("utf-8")):
        tree = ast.parse((TOP / file).read_text("utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, (
            file,
            name,
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_definition_and_equation_of_the_method_is_mapped() -> None:
    text = (TOP / "docs/paper.md").read_text("utf-8")
    for item in [
        "Eq. 1",
        "Eq. 2",
        "Eq. 3",
        "Eq. 4",
        "Eq. 7",
        "Eq. 23",
        *(f"Definition {n}" for n in range(1, 5)),
    ]:
        assert item in text, item


def _of_the_paper() -> list[Statement]:
    """A claim that somebody adds for a use of their own need not be in the documents."""
    return [statement for statement in STATEMENTS.values() if statement.number in NUMBERED]


def test_every_statement_is_linked_to_its_check() -> None:
    rows = (TOP / "docs/paper.md").read_text("utf-8").splitlines()
    for statement in _of_the_paper():
        found = [
            row for row in rows if row.startswith(f"| {statement.number}") and "crossmodalnet/theory/" in row
        ]
        assert len(found) == 1, statement.number


def test_every_statement_has_its_verdict_explained() -> None:
    text = (TOP / "docs/claims.md").read_text("utf-8")
    assert [s.number for s in _of_the_paper() if f"| {s.number} " not in text] == []
