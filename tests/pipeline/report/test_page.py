import copy
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from crossmodalnet.errors import DataError
from crossmodalnet.theory.statements import STATEMENTS
from pipeline.cohort.split_file import SplitNotes
from pipeline.report.artefacts import Artefacts, gather
from pipeline.report.overlays import case_overlays
from pipeline.report.page import SECTIONS, render, write_page

SEVERAL = {"comparison", "costs", "ablations", "literature", "adaptation"}  # networks or domains


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        self.links = [attributes.get("href") for tag, attributes in self.tags if tag == "a"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def page_of(artefacts: Artefacts) -> str:
    return render(artefacts, case_overlays(artefacts))


@pytest.fixture(scope="module")
def page(artefacts):
    return page_of(artefacts)


@pytest.fixture
def hostile_page(project, blank_charts):
    """A page of patients whose texts are called like elements, and whose split leaks."""
    statement = {"metric": "dice", "text": "a<i>b", "kind": "supported"}
    (project / "comparison/statements.json").write_text(json.dumps([statement]))
    with (project / "params.yaml").open("a") as params:
        params.write("#<script>alert(1)</script>\n")
    split = project / "data/split.json"
    split.write_text(split.read_text("utf-8").replace("ct_1011+mr_1011", "ct_1001+mr_1099"))
    path = project / "audit/crossmodalnet/findings.json"
    content = json.loads(path.read_text("utf-8"))
    content["findings"][0].update(why="why<u>", numbers={"n<u>": 1.0})
    path.write_text(json.dumps(content))
    return page_of(replace(gather(project), source="mmwhs"))


def test_nothing_is_loaded_from_outside(page):
    elements = Elements(page).tags
    assert "script" not in {tag for tag, _ in elements}
    for _, attributes in elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"@import|url\(", page)
    assert all(attributes["alt"] for tag, attributes in elements if tag == "img")


def test_every_link_has_its_target_and_every_section_its_link(page):
    elements = Elements(page)
    assert set(elements.links) == {f"#{target}" for target in elements.ids}
    assert len(elements.ids) == len(set(elements.ids))
    assert {key for key, *_ in SECTIONS} - set(elements.ids) == {"adaptation"}
    assert {f"claim-{key}" for key in STATEMENTS} <= set(elements.ids)


@pytest.mark.usefixtures("blank_charts")
def test_page_of_one_network_has_no_comparison(alone):
    page = page_of(alone)
    elements = Elements(page)
    assert {key for key, *_ in SECTIONS} - set(elements.ids) == SEVERAL
    assert set(elements.links) == {f"#{target}" for target in elements.ids}
    assert "One training run per model" in page


@pytest.mark.usefixtures("blank_charts")
@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("data/registered/ct_1001+mr_1004/mr.nii.gz", "register"),
        ("data/registration_qc/pairs.csv", "register"),
        ("data/registration_qc/checkerboards/ct_1001+mr_1004.png", "register"),
        ("curves/mednext/seed3.csv", "train"),
        ("evaluation/mednext/seed3/card.json", "evaluate"),
        ("evaluation/mednext/seed0/predictions/ct_1001+mr_1004.nii.gz", "evaluate"),
        ("evaluation/atlas/cases.csv", "atlas"),
        ("audit/mednext/findings.json", "audit"),
        ("comparison/scores.csv", "compare"),
        ("comparison/pairwise.csv", "compare"),
        ("comparison/ranks.csv", "compare"),
        ("comparison/statements.json", "compare"),
    ],
)
def test_missing_artefact_is_reported_with_its_stage(project, path, stage):
    (project / path).unlink()
    with pytest.raises(DataError, match=rf"{re.escape(str(project / path))} not found: run `dvc repro {stage}`"):
        render(gather(project), [])


@pytest.mark.usefixtures("blank_charts")
def test_page_without_audit_and_profile_leaves_their_sections_out(project):
    for path in (project / "profile").glob("*.json"):
        path.write_text("{}")
    for path in (project / "audit").glob("*/findings.json"):
        path.write_text('{"model": "m", "seed": 0, "findings": []}')
    page = page_of(gather(project))
    elements = Elements(page)
    assert {key for key, *_ in SECTIONS} - set(elements.ids) == {"adaptation", "claims", "costs"}
    assert set(elements.links) == {f"#{target}" for target in elements.ids}
    assert "nan" not in re.sub(r"<[^>]+>", " ", page).split()


def test_text_from_data_is_escaped(hostile_page):
    assert "<script" not in hostile_page
    assert "<u>" not in hostile_page
    for text in ("&lt;script&gt;", "a&lt;i&gt;b", "why&lt;u&gt;", "n&lt;u&gt;"):
        assert text in hostile_page


def test_shared_subject_is_reported(page, hostile_page):
    assert "subjects in more than one role: ct_1001:" in hostile_page
    assert "subjects in more than one role" not in page


@pytest.mark.usefixtures("blank_charts")
def test_policy_follows_other_settings(artefacts):
    cards = copy.deepcopy(artefacts.cards)
    for card in cards.values():
        card["train"] |= {"budget": "seconds", "seconds": 90.0}
        card["losses"] |= {"deep_supervision": False, "objectives": ["ce"], "cmif": 0.1}
        card["augment"]["enabled"] = False
    page = page_of(replace(artefacts, cards=cards))
    assert "<dd>Equal wall time: 90 s" in page
    assert "<dd>None for any network." in page
    assert "<dd>cross-entropy; networks of two streams also" in page
    assert "2 in a batch; no augmentation." in page


@pytest.mark.stress
def test_page_is_written_whole_and_the_same_every_time(alone, tmp_path):
    page = page_of(alone)
    assert write_page(tmp_path / "report", alone).read_text("utf-8") == page
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["index.html", "overlays"]
    pictures = sorted((tmp_path / "report/overlays").iterdir())
    assert [file.stem for file in pictures] == ["best", "median", "worst"]
    for file in pictures:
        with Image.open(file) as image:
            assert min(image.size) > 3 * 64  # three planes below each other


@pytest.mark.usefixtures("blank_charts")
@pytest.mark.parametrize(
    ("notes", "text", "num_different"),
    [
        (SplitNotes(), "CT and MR of a pair are different people.", 2),
        (SplitNotes((), 1), "CT and MR are of one patient in 1 of 8 pairs,", 0),
        (SplitNotes((), 8), "CT and MR of a pair are of one patient.", 0),
        (SplitNotes(("AO", "PA")), "Not delineated: AO, PA.", 2),
    ],
)
def test_page_says_whose_the_images_are_and_what_is_not_delineated(alone, notes, text, num_different):
    page = page_of(replace(alone, notes=notes))
    assert text in page
    assert ("Not delineated" in page) == bool(notes.missing)
    assert page.count("are different people") == num_different
