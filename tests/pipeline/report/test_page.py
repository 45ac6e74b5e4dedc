import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from crossmodalnet.theory.statements import STATEMENTS
from pipeline.cohort.split_file import SplitNotes
from pipeline.report.artefacts import Artefacts, gather
from pipeline.report.overlays import case_overlays
from pipeline.report.page import SECTIONS, render, write_page
from tests.pipeline.report.pictures import leave_charts_empty

SEVERAL = {"comparison", "costs", "ablations", "literature", "adaptation"}  # networks or domains


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        self.links = [attributes.get("href") for tag, attributes in self.tags if tag == "a"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def render_text(artefacts: Artefacts) -> str:
    """A page whose charts are empty, which takes a fraction of the time."""
    with pytest.MonkeyPatch.context() as patch:
        leave_charts_empty(patch)
        return render(artefacts, case_overlays(artefacts))


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text("utf-8")))


@pytest.fixture(scope="module")
def page(artefacts: Artefacts) -> str:
    return render(artefacts, case_overlays(artefacts))


@pytest.fixture
def hostile_page(project: Path) -> str:
    """A page of patients whose texts are called like elements, and whose split leaks."""
    statement = {"metric": "dice", "text": "a<i>b", "kind": "supported"}
    (project / "comparison/statements.json").write_text(json.dumps([statement]))
    rewrite(project / "params.yaml", lambda text: f"{text}#<script>alert(1)</script>\n")
    rewrite(project / "data/split.json", lambda text: text.replace("ct_1011+mr_1011", "ct_1001+mr_1099"))

    def spoil(text: str) -> str:
        content = json.loads(text)
        content["findings"][0].update(why="why<u>", numbers={"n<u>": 1.0})
        return json.dumps(content)

    rewrite(project / "audit/crossmodalnet/findings.json", spoil)
    return render_text(replace(gather(project), source="mmwhs"))


def test_nothing_is_loaded_from_outside(page: str) -> None:
    elements = Elements(page).tags
    assert "script" not in {tag for tag, _ in elements}
    for _, attributes in elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"@import|url\(", page)


def test_every_link_has_its_target_and_every_section_its_link(page: str) -> None:
    elements = Elements(page)
    assert set(elements.links) == {f"#{target}" for target in elements.ids}
    assert len(elements.ids) == len(set(elements.ids))
    assert {key for key, *_ in SECTIONS} - set(elements.ids) == {"adaptation"}
    assert {f"claim-{key}" for key in STATEMENTS} <= set(elements.ids)


def test_page_of_one_network_has_no_comparison(alone: Artefacts) -> None:
    page = render_text(alone)
    elements = Elements(page)
    assert {key for key, *_ in SECTIONS} - set(elements.ids) == SEVERAL
    assert set(elements.links) == {f"#{target}" for target in elements.ids}
    assert "One training run per model" in page


def test_every_picture_has_a_text(page: str) -> None:
    pictures = [attributes for tag, attributes in Elements(page).tags if tag == "img"]
    assert all(picture["alt"] for picture in pictures)


def test_text_from_data_is_escaped(hostile_page: str) -> None:
    assert "<script" not in hostile_page
    assert "&lt;script&gt;" in hostile_page
    assert "a&lt;i&gt;b" in hostile_page
    assert "<u>" not in hostile_page
    assert all(f"{word}&lt;u&gt;" in hostile_page for word in ("why", "n"))


def test_shared_subject_is_reported(page: str, hostile_page: str) -> None:
    assert "subjects in more than one role: ct_1001:" in hostile_page
    assert "subjects in more than one role" not in page


@pytest.mark.parametrize(
    ("section", "values", "text"),
    [
        ("train", {"budget": "seconds", "seconds": 90.0}, "<dd>Equal wall time: 90 s"),
        ("losses", {"deep_supervision": False}, "<dd>None for any network."),
        ("losses", {"objectives": ["ce"], "cmif": 0.1}, "<dd>cross-entropy; networks of two streams also"),
        ("augment", {"enabled": False}, "2 in a batch; no augmentation."),
    ],
)
def test_policy_follows_other_settings(
    artefacts: Artefacts, section: str, values: dict[str, object], text: str
) -> None:
    cards = {key: {**card, section: {**card[section], **values}} for key, card in artefacts.cards.items()}
    assert text in render_text(replace(artefacts, cards=cards))


@pytest.mark.stress
def test_page_is_written_whole_and_the_same_every_time(alone: Artefacts, tmp_path: Path) -> None:
    page = render(alone, case_overlays(alone))
    assert write_page(tmp_path / "report", alone).read_text("utf-8") == page
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["index.html", "overlays"]
    pictures = sorted((tmp_path / "report/overlays").iterdir())
    assert [file.stem for file in pictures] == ["best", "median", "worst"]
    for file in pictures:
        with Image.open(file) as image:
            assert min(image.size) > 3 * 64  # three planes below each other


@pytest.mark.parametrize(
    ("notes", "text", "num_different"),
    [
        (SplitNotes(), "CT and MR of a pair are different people.", 2),
        (SplitNotes((), 1), "CT and MR are of one patient in 1 of 8 pairs,", 0),
        (SplitNotes((), 8), "CT and MR of a pair are of one patient.", 0),
        (SplitNotes(("AO", "PA")), "Not delineated: AO, PA.", 2),
    ],
)
def test_page_says_whose_the_images_are_and_what_is_not_delineated(
    alone: Artefacts, notes: SplitNotes, text: str, num_different: int
) -> None:
    page = render_text(replace(alone, notes=notes))
    assert text in page
    assert ("Not delineated" in page) == bool(notes.missing)
    assert page.count("are different people") == num_different
