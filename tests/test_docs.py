import re
from pathlib import Path

import pytest

from crossmodalnet.theory.statements import STATEMENTS
from pipeline.runtime.paths import TOP

PAGES = [*sorted((TOP / "docs").rglob("*.md")), *sorted(TOP.glob("*.md"))]
FOLDERS = ("crossmodalnet/", "pipeline/", "stages/", "tests/", "docs/", "benchmarks/", "tools/")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_sections_exist(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text("utf-8")):
        path, _, section = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not section or section in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_in_backticks_exist(page: Path) -> None:
    names = re.findall(r"`([^`\s]+)`", page.read_text("utf-8"))
    files = [name for name in names if name.startswith(FOLDERS) and not re.search("[<*{]", name)]
    assert [name for name in files if not (TOP / name).exists()] == []


def test_every_statement_and_equation_of_the_paper_has_its_row() -> None:
    paper, audit = ((TOP / "docs" / page).read_text("utf-8") for page in ("paper.md", "audit.md"))
    assert [s.number for s in STATEMENTS.values() if f"| {s.number}" not in paper] == []
    assert [s.number for s in STATEMENTS.values() if f"| {s.number}" not in audit] == []
    assert [number for number in (1, 2, 3, 4, 7, 23) if f"Eq. {number}" not in paper] == []
