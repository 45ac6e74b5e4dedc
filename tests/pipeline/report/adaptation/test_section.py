"""Gathering, drawing and printing of an adaptation."""

import runpy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.training.adaptation.config import TERMS
from pipeline.config.sections import AdaptSection, ReportConfig
from pipeline.report.adaptation import figures as adaptation_figures
from pipeline.report.adaptation.figures import adaptation_chart
from pipeline.report.adaptation.section import adaptation_section, oracle_sentence
from pipeline.report.artefacts.gather import gather
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Training
from pipeline.report.page.render import draw_overlays, render

HERE = Path(__file__).parents[1]
make_artefacts = runpy.run_path(str(HERE / "fake_artefacts.py"))["make_artefacts"]
make_adaptation = runpy.run_path(str(HERE / "fake_adaptation.py"))["make_adaptation"]
SEEDS = (0, 3)
PARAMS = ReportConfig(panel_px=64)


def gathered(top: Path, scenario: str) -> Artefacts:
    adapt = AdaptSection.model_validate({"enabled": True, "scenario": scenario})
    return gather(["crossmodalnet"], [], SEEDS, "phantom", top, adapt=adapt)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts without an adaptation."""
    folder = tmp_path_factory.mktemp("plain")
    make_artefacts(folder, seeds=SEEDS, shape=(22, 22, 20), spacing_mm=8.0)
    return folder


@pytest.fixture(scope="module")
def made(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Artefacts of each scenario, to be read only."""
    folders: dict[str, Path] = {}

    def make(scenario: str) -> Path:
        if scenario not in folders:
            folders[scenario] = tmp_path_factory.mktemp("adapted") / "project"
            shutil.copytree(plain, folders[scenario])
            make_adaptation(folders[scenario], scenario, SEEDS)
        return folders[scenario]

    return make


@pytest.fixture(scope="module")
def adapted(made: Callable[[str], Path]) -> Artefacts:
    return gathered(made("cohort"), "cohort")


def test_without_an_adaptation_there_is_no_section(plain: Path) -> None:
    found = gather(["crossmodalnet"], [], SEEDS, "phantom", plain, adapt=AdaptSection())
    assert found.adaptation is None
    assert adaptation_section(found, PARAMS) is None


def test_methods_are_printed_with_their_share_of_the_gap(adapted: Artefacts) -> None:
    section = adaptation_section(adapted, PARAMS)
    assert section is not None
    rows = {row[0]: row[1:] for row in section.methods.rows}
    assert list(rows) == ["Source only", "JADA", "JADA without output alignment", "Supervised on the target"]
    # Target cases have 0.70, 0.71 and 0.72, source-only 0.2 less and supervised training 0.2 more in each.
    assert rows["JADA"][2] == "0.710"
    assert rows["JADA"][5:] == ["50 %", "50 % to 50 %"]
    assert rows["JADA without output alignment"][5] == "25 %"
    assert rows["Source only"][5:] == ["0 %", "by definition"]
    assert rows["Supervised on the target"][4] == "2.0"  # HD95, mm: 20 (1 - 0.9)


def test_structures_and_both_means_are_printed(adapted: Artefacts) -> None:
    section = adaptation_section(adapted, PARAMS)
    assert section is not None
    assert section.structures is not None
    rows = section.structures.rows
    assert [row[0] for row in rows[-2:]] == ["mean of seven", "mean of four (AO, LA, LV, Myo)"]
    assert rows[0] == ["LV", "0.510", "0.710", "0.910", "+0.200", "+0.200 to +0.200"]


def test_the_section_says_what_was_adapted_and_by_what(adapted: Artefacts) -> None:
    section = adaptation_section(adapted, PARAMS)
    assert section is not None
    assert section.what == (
        "From the labelled pairs of the cohort to those of a second cohort of phantoms. Source: 2 for training, 1 for "
        "validation, 5 for tests. Target: 2 for training, 1 for validation, 3 for tests."
    )
    assert section.terms.endswith("strengths: marginal: features (1) and topology: spanning trees (0.5).")
    assert section.said[0].startswith("JADA recovers 50 % [50, 50]")
    assert [text.split(" recovers")[0] for text in section.parts] == ["JADA without output alignment"]
    assert section.published is None


def test_the_median_case_is_drawn_with_and_without_adaptation(adapted: Artefacts) -> None:
    section = adaptation_section(adapted, PARAMS)
    assert section is not None
    assert section.overlay is not None
    assert section.overlay.pair == "ct_2002+mr_2002"
    assert section.overlay.dice == pytest.approx({"Source only": 0.51, "JADA": 0.71})
    titles = [panel.title for panel in section.overlay.planes["axial"]]
    assert titles == ["CT", "MR, registered", "Truth", "Source only", "JADA"]


def test_the_oracle_is_averaged_over_seeds() -> None:
    first = pd.DataFrame({"epoch": [1, 2], "chosen": [True, False], "target_dice": [0.5, 0.6]})
    second = first.assign(target_dice=[0.7, 0.7])
    text = oracle_sentence({0: first, 3: second})
    assert "a mean Dice of 0.600 on the target's test cases, the best of 2 validated epochs has 0.650" in text
    assert "mean over 2 seeds" in text
    assert "not used anywhere" in text
    assert oracle_sentence({0: first.assign(chosen=False)}) == ""
    assert oracle_sentence({}) == ""


def test_curves_leave_out_what_was_not_recorded(adapted: Artefacts) -> None:
    training = adapted.trainings[0]
    assert adaptation_chart(training).startswith("data:image/svg+xml")
    nothing = pd.DataFrame({"epoch": [1, 2], "loss": 1.0})
    assert adaptation_chart(Training("crossmodalnet", {0: nothing}, {0: {}})) == ""
    assert set(adaptation_figures.TERMS) == set(TERMS)


@pytest.mark.stress
def test_a_page_has_the_section_only_with_an_adaptation(adapted: Artefacts) -> None:
    overlays = draw_overlays(adapted, PARAMS)
    page, off = (render(shown, PARAMS, overlays) for shown in (adapted, replace(adapted, adaptation=None)))
    for piece in ('<section id="adaptation">', '<a href="#adaptation">', "share of the gap"):
        assert piece in page
        assert piece not in off
    assert "not comparable with the phantom" not in page


@pytest.mark.usefixtures("blank_charts")
def test_between_modalities_there_is_neither_atlas_nor_registration(made: Callable[[str], Path]) -> None:
    found = gathered(made("ct_to_mr"), "ct_to_mr")
    assert found.atlas is None
    assert list(found.cases) == ["ct_1001", "ct_1002"]
    assert found.cases["ct_1001"].mr is None
    section = adaptation_section(found, PARAMS)
    assert section is not None
    assert section.what.startswith("From labelled CT images to MR images of other people")
    assert section.published is not None
    assert [row[2] for row in section.published.rows] == ["0.157", "0.634", "0.836"]
    assert section.overlay is not None
    assert [p.title for p in section.overlay.planes["axial"]] == ["MR", "Truth", "Source only", "JADA"]
    page = render(found, PARAMS, draw_overlays(found, PARAMS))
    assert '<section id="registration">' not in page
    assert "Atlas baseline" not in page
    assert "not comparable with the phantom" in page


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("evaluation/crossmodalnet-source_only/seed0/target/predictions/ct_2002+mr_2002.nii.gz", "evaluate-adaptation"),
        ("evaluation/crossmodalnet/seed3/target/choices.csv", "evaluate"),
        ("data/target_labels/ct_2002+mr_2002/native.nii.gz", "target"),
        ("comparison/adaptation.csv", "compare"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_its_stage(
    made: Callable[[str], Path], tmp_path: Path, path: str, stage: str
) -> None:
    top = Path(shutil.copytree(made("cohort"), tmp_path / "project"))
    (top / path).unlink()
    with pytest.raises(
        DataError, match=rf"{Path(path).name.replace('+', '.')} not found: run `dvc repro {stage}`"
    ):
        gathered(top, "cohort")


def test_a_record_that_says_off_is_of_other_parameters(made: Callable[[str], Path], tmp_path: Path) -> None:
    top = Path(shutil.copytree(made("cohort"), tmp_path / "project"))
    (top / "data/target/domain.json").write_text('{"scenario": null}')
    with pytest.raises(DataError, match="adaptation is off: run `dvc repro target`"):
        gathered(top, "cohort")


def test_a_target_without_labels_is_told_by_the_source_alone(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    top = Path(shutil.copytree(made("cohort"), tmp_path / "project"))
    table = pd.read_csv(top / "comparison/adaptation.csv")
    table[table["domain"] == "source"].to_csv(top / "comparison/adaptation.csv", index=False)
    for name in ("gap.csv", "adaptation_structures.csv"):
        (top / "comparison" / name).unlink()
    section = adaptation_section(gathered(top, "cohort"), PARAMS)
    assert section is not None
    assert (section.structures, section.overlay, section.oracle) == (None, None, "")
    assert section.methods.rows[0][3] == "–"
