import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.params.report import ReportParams
from pipeline.report.records import Artefacts
from pipeline.report.render import render, write_page

PARAMS = ReportParams(panel_px=64, checkerboard_px=64)


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page(artefacts: Artefacts) -> str:
    return render(artefacts, PARAMS)


@pytest.fixture(scope="module")
def other_page(artefacts: Artefacts) -> str:
    """A page of patients with hostile names, whose split leaks."""
    results = [replace(artefacts.results[0], name="a<i>b"), *artefacts.results[1:]]
    split = {**artefacts.split, "train": [*artefacts.split["train"], "ct_1001+mr_1099"]}
    params = "<script>alert(1)</script>"
    return render(replace(artefacts, results=results, split=split, params=params, source="mmwhs"), PARAMS)


def test_nothing_is_loaded_from_outside(page: str) -> None:
    elements = Elements(page).found
    assert "script" not in {tag for tag, _ in elements}
    for _, attributes in elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"@import|url\(", page)


def test_every_link_has_its_section(page: str) -> None:
    elements = Elements(page).found
    targets = {attributes["id"] for _, attributes in elements if "id" in attributes}
    links = {attributes["href"] for tag, attributes in elements if tag == "a"}
    assert links == {f"#{target}" for target in targets}
    assert {"summary", "structures", "overlays", "training", "registration", "limits", "next"} <= targets


def test_every_picture_says_what_it_shows(page: str) -> None:
    pictures = [attributes for tag, attributes in Elements(page).found if tag == "img"]
    # 5 charts and a curve per model besides; 3 cases and the head, 3 planes of 6 panels; 8 checkerboards
    assert len(pictures) == 4 + 2 + (3 * 3 + 1) * 6 + 8
    assert all(picture["alt"] for picture in pictures)


def test_text_from_data_is_escaped(other_page: str) -> None:
    assert "<script" not in other_page
    assert "&lt;script&gt;" in other_page
    assert "a<i>b" not in other_page
    assert "a&lt;i&gt;b" in other_page


def test_phantom_is_said_to_be_synthetic_and_patients_are_not(page: str, other_page: str) -> None:
    assert "Synthetic data." in page
    assert "Synthetic data." not in other_page


def test_smallest_p_of_five_cases_is_told(page: str) -> None:
    assert "0.0625" in page


def test_shared_subject_is_reported(page: str, other_page: str) -> None:
    assert "subjects in more than one role: ct_1001:" in other_page
    assert "subjects in more than one role" not in page


def test_page_is_written_whole_and_the_same_every_time(
    artefacts: Artefacts, page: str, tmp_path: Path
) -> None:
    assert write_page(tmp_path / "report", artefacts, PARAMS).read_text() == page
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]
