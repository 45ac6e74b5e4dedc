import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from crossmodalnet.theory.findings import StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.statements import STATEMENTS
from pipeline.cohort.split_file import SplitNotes
from pipeline.config.sections import ReportConfig
from pipeline.report.artefacts.audit_records import AuditRecord
from pipeline.report.artefacts.comparison_records import StatementRecord
from pipeline.report.artefacts.gather import gather
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimate, Training
from pipeline.report.page.render import draw_overlays, render, write_page
from tests.pipeline.report.blank import leave_charts_empty

PARAMS = ReportConfig(panel_px=64)


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
    return render(artefacts, PARAMS, draw_overlays(artefacts, PARAMS))


@pytest.fixture(scope="module")
def other_page(artefacts: Artefacts) -> str:
    """A page of patients with hostile texts, whose split leaks, whose networks trained unequally, ours second."""
    first, second, atlas = artefacts.results
    better = dict.fromkeys(first.estimates, Estimate(0.99, None, None))
    trainings = [artefacts.trainings[0], with_cards(artefacts.trainings[1], augment={"enabled": False})]
    split = {**artefacts.split, "train": [*artefacts.split["train"], "ct_1001+mr_1099"]}
    comparison = replace(artefacts.comparison, statements=[StatementRecord("dice", "a<i>b", "supported")])
    changed = replace(
        artefacts,
        results=[first, replace(second, estimates=better), atlas],
        trainings=trainings,
        comparison=comparison,
        audits={"crossmodalnet": hostile(artefacts.audits["crossmodalnet"])},
        split=split,
        params="<script>alert(1)</script>",
        source="mmwhs",
    )
    return render_text(changed)


def hostile(audit: AuditRecord) -> AuditRecord:
    """An audit whose texts and numbers are called like elements."""
    finding = StatementFinding(
        "definition_1", Verdict.FAILS, "why<u>", {"n<u>": 1.0}, "breaks<u>", "example<u>"
    )
    return replace(audit, findings={**audit.findings, "definition_1": finding})


def render_text(artefacts: Artefacts) -> str:
    """A page whose charts are empty, which takes a fraction of the time."""
    with pytest.MonkeyPatch.context() as patch:
        leave_charts_empty(patch)
        return render(artefacts, PARAMS, draw_overlays(artefacts, PARAMS))


def with_cards(training: Training, **changes: object) -> Training:
    return replace(training, cards={seed: {**card, **changes} for seed, card in training.cards.items()})


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
    assert {"comparison", "costs", "ablations", "literature", "claims", "claims-flow"} <= targets


def test_page_of_one_network_has_no_comparison(made: Path) -> None:
    page = render_text(gather(["crossmodalnet"], [], [0], "phantom", made))
    elements = Elements(page).found
    targets = {attributes["id"] for _, attributes in elements if "id" in attributes}
    assert targets == {attributes["href"].lstrip("#") for tag, attributes in elements if tag == "a"}
    assert "charts" in targets
    assert not {"comparison", "costs", "ablations", "literature"} & targets
    assert "One training run per model" in page


def test_misregistration_and_missing_modalities_are_shown_where_they_were_measured(
    page: str, made: Path, artefacts: Artefacts
) -> None:
    words = ("<h3>Misregistration</h3>", "<h3>With one modality missing</h3>", "MR's own label")
    alone = gather(["crossmodalnet"], [], [0], "phantom", made)
    nothing = replace(artefacts.comparison, misregistration=None, modalities=None)
    for shown, text in (
        ([1, 1, 1], page),
        ([1, 1, 1], render_text(alone)),
        ([0, 0, 0], render_text(replace(artefacts, comparison=nothing))),
        ([0, 0, 0], render_text(replace(alone, comparison=nothing))),
    ):
        assert [text.count(word) for word in words] == shown


def test_page_says_where_the_reference_is_not_first(other_page: str) -> None:
    # the other's Dice, IoU and HD95 are all 0.99
    assert "Among 2 networks, CrossModalNet is not first in Dice, MIoU and HD95." in other_page
    assert "CrossModalNet is not first in Dice, MIoU, HD95 (" in other_page  # before the ablations


def test_settings_that_are_not_the_same_for_all_are_shown(page: str, other_page: str) -> None:
    assert "augment.enabled (True: CrossModalNet; False: MedNeXt)" in other_page
    assert "Not the same for all" not in page
    assert "Checked on the model cards" in page


def test_every_picture_says_what_it_shows(page: str) -> None:
    pictures = [attributes for tag, attributes in Elements(page).found if tag == "img"]
    # bars, boxes, ranks, costs, ablations, misregistration; curves; 3 cases and the head, 3 planes of 6
    # panels; checkerboards; 9 of the claims of ours, 3 of those of the other
    assert len(pictures) == 4 + 4 + 2 + (3 * 3 + 1) * 6 + 8 + 9 + 3
    assert all(picture["alt"] for picture in pictures)


def test_text_from_data_is_escaped(other_page: str) -> None:
    assert "<script" not in other_page
    assert "&lt;script&gt;" in other_page
    assert "a<i>b" not in other_page
    assert "a&lt;i&gt;b" in other_page
    assert "<u>" not in other_page
    assert all(f"{word}&lt;u&gt;" in other_page for word in ("why", "n", "breaks", "example"))


def test_the_results_come_before_the_claims(page: str) -> None:
    places = [page.index(f'<section id="{name}"') for name in ("summary", "structures", "overlays", "claims")]
    assert places == sorted(places)


def test_claims_lead_to_their_details_and_details_are_of_the_main_model(page: str) -> None:
    elements = Elements(page).found
    links = [attributes.get("href") for tag, attributes in elements if tag == "a"]
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert [f"#claim-{key}" in links for key in STATEMENTS] == [True] * len(STATEMENTS)
    assert len(ids) == len(set(ids))
    assert page.count(STATEMENTS["theorem_2_4"].rule) == 1


def test_verdicts_are_summed_up(page: str) -> None:
    added = (
        len(STATEMENTS) - 21
    )  # to the paper's: in the example each holds for ours and does not apply to the other
    words = f"{9 + added} hold, 5 hold under conditions only, 5 fail, 1 is replaced by an option and 1 is undecided"
    assert f"tested on CrossModalNet, {words}: <a" in page
    words = f"3 hold, 1 holds under conditions only, 1 fails and {16 + added} do not apply"
    assert f"MedNeXt: {words}" in page


def test_networks_that_nothing_applies_to_have_a_line(artefacts: Artefacts) -> None:
    nothing = {key: not_applicable(key, "No streams.") for key in STATEMENTS}
    audits = {"mednext": AuditRecord("mednext", 0, nothing, {})}
    page = render_text(replace(artefacts, audits=audits))
    assert "MedNeXt: none of the statements applies. No streams." in page
    assert 'class="claims"' not in page
    assert 'href="#claims"' in page
    assert 'id="claims"' not in render_text(replace(artefacts, audits={}))


def test_phantom_is_said_to_be_synthetic_and_patients_are_not(page: str, other_page: str) -> None:
    assert "Synthetic data." in page
    assert "Synthetic data." not in other_page


def test_smallest_p_of_five_cases_is_told(page: str) -> None:
    assert "0.0625" in page


def test_shared_subject_is_reported(page: str, other_page: str) -> None:
    assert "subjects in more than one role: ct_1001:" in other_page
    assert "subjects in more than one role" not in page


@pytest.mark.stress
def test_page_is_written_whole_and_the_same_every_time(made: Path, tmp_path: Path) -> None:
    artefacts = gather(["crossmodalnet"], [], [0], "phantom", made)
    page = render(artefacts, PARAMS, draw_overlays(artefacts, PARAMS))
    assert write_page(tmp_path / "report", artefacts, PARAMS).read_text("utf-8") == page
    pictures = sorted((tmp_path / "report/overlays").iterdir())
    assert [file.stem for file in pictures] == ["best", "median", "worst"]
    for file in pictures:
        with Image.open(file) as image:
            assert min(image.size) > 3 * 64  # three planes below each other
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["index.html", "overlays"]


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        (SplitNotes(), "CT and MR of a pair are different people."),
        (SplitNotes((), 1), "CT and MR are of one patient in 1 of "),
        (SplitNotes((), 10**6), "CT and MR of a pair are of one patient."),
        (SplitNotes(("AO", "PA")), "Not delineated: AO, PA."),
    ],
)
def test_page_says_whose_the_images_are_and_what_nobody_delineated(
    artefacts: Artefacts, notes: SplitNotes, said: str
) -> None:
    known = replace(notes, num_one_patient=min(notes.num_one_patient, artefacts.num_pairs))
    text = render_text(replace(artefacts, notes=known))
    assert said in text
    assert ("Not delineated" in text) == bool(notes.missing)
    assert text.count("are different people") == (0 if notes.num_one_patient else 2)
