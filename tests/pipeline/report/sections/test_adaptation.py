import shutil
from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.report.artefacts import gather
from pipeline.report.overlays import case_overlays
from pipeline.report.page import render
from pipeline.report.sections.adaptation import adaptation_chart, hindsight, section
from tests.pipeline.report.fake_adaptation import make_adaptation
from tests.pipeline.report.fake_artefacts import make_artefacts

SEEDS = (0, 3)
pytestmark = pytest.mark.usefixtures("blank_charts")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    make_artefacts(folder, seeds=SEEDS, shape=(22, 22, 20), spacing_mm=8.0)
    return folder


@pytest.fixture(scope="module")
def made(plain, tmp_path_factory):
    folder = shutil.copytree(plain, tmp_path_factory.mktemp("adapted") / "project")
    make_adaptation(folder, "cohort", SEEDS)
    return folder


@pytest.fixture(scope="module")
def adapted(made):
    return gather(made)


def test_methods_are_printed_with_their_share_of_the_gap(adapted):
    rows = {row[0]: row[1:] for row in section(adapted)["methods"].rows}
    assert list(rows) == ["Source only", "JADA", "JADA without output alignment", "Supervised on the target"]
    # Target cases have 0.70, 0.71 and 0.72, source-only 0.2 less and supervised training 0.2 more in each.
    assert rows["JADA"][2] == "0.710"
    assert rows["JADA"][5:] == ["50 %", "50 % to 50 %"]
    assert rows["JADA without output alignment"][5] == "25 %"
    assert rows["Source only"][5:] == ["0 %", "by definition"]
    assert rows["Supervised on the target"][4] == "2.0"  # HD95, mm: 20 (1 - 0.9)


def test_structures_and_both_means_are_printed(adapted):
    rows = section(adapted)["by_structure"].rows
    assert [row[0] for row in rows[-2:]] == ["mean of seven", "mean of four (AO, LA, LV, Myo)"]
    assert rows[0] == ["LV", "0.510", "0.710", "0.910", "+0.200", "+0.200 to +0.200"]


def test_median_case_is_drawn_with_and_without_adaptation(adapted):
    overlay = section(adapted)["overlay"]
    assert (overlay.rank, overlay.pair) == ("median", "ct_2002+mr_2002")
    assert overlay.dice == pytest.approx({"Source only": 0.51, "JADA": 0.71})
    assert list(overlay.planes["axial"]) == ["CT", "MR, registered", "Truth", "Source only", "JADA"]


def test_hindsight_is_averaged_over_seeds():
    first = pd.DataFrame({"epoch": [1, 2], "chosen": [True, False], "target_dice": [0.5, 0.6]})
    found = hindsight([first, first.assign(target_dice=[0.7, 0.7])])
    assert found == pytest.approx({"kept": 0.6, "best": 0.65, "epochs": 2})
    assert hindsight([first.assign(chosen=False)]) is None


def test_curves_leave_out_what_was_not_recorded(adapted, monkeypatch):
    monkeypatch.undo()  # draw this chart
    curves = [adapted.curves["crossmodalnet", seed] for seed in SEEDS]
    for recorded in (curves, [curves[0][["epoch", "marginal_accuracy"]]]):
        assert adaptation_chart(recorded).startswith("data:image/svg+xml")
    assert adaptation_chart([pd.DataFrame({"epoch": [1, 2], "loss": 1.0})]) == ""


def test_page_says_what_was_adapted_and_by_what(adapted):
    page = render(adapted, case_overlays(adapted))
    for text in (
        '<a href="#adaptation">',
        "Source: 2 for training, 1 for validation, 5 for tests. Target: 2 for training, 1 for validation, 3 for tests.",
        "strengths: marginal: features (1) and topology: spanning trees (0.5).",
        "<p>JADA recovers 50 % [50, 50]",
        "the best of 3 validated epochs has 0.750",
    ):
        assert text in page
    assert "not comparable with the phantom" not in page


def test_between_modalities_there_is_neither_atlas_nor_registration(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "project")
    make_adaptation(folder, "ct_to_mr", SEEDS)
    adapted = gather(folder)
    assert adapted.methods == ["crossmodalnet"]
    files = {name: sorted(files) for name, files in adapted.images.items()}
    assert files == {name: ["ct", "truth"] for name in ("ct_1001", "ct_1002")}
    content = section(adapted)
    assert [row[2] for row in content["published"].rows] == ["0.157", "0.634", "0.836"]
    assert list(content["overlay"].planes["axial"]) == ["MR", "Truth", "Source only", "JADA"]
    page = render(adapted, case_overlays(adapted))
    assert "From labelled CT images to MR images of other people" in page
    assert '<section id="registration">' not in page
    assert "Atlas baseline" not in page
    assert "not comparable with the phantom" in page


PREDICTION = "seed0/target/predictions/ct_2002+mr_2002.nii.gz"


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        (f"evaluation/crossmodalnet-source_only/{PREDICTION}", "evaluate-adaptation"),
        ("evaluation/crossmodalnet/seed3/target/choices.csv", "evaluate"),
        ("data/target_labels/ct_2002+mr_2002/native.nii.gz", "target"),
        ("comparison/adaptation.csv", "compare"),
    ],
)
def test_missing_artefact_is_reported_with_its_stage(made, tmp_path, path, stage):
    project = shutil.copytree(made, tmp_path / "project")
    (project / path).unlink()
    name = Path(path).name.replace("+", ".")
    with pytest.raises(DataError, match=rf"{name} not found: run `dvc repro {stage}`"):
        section(gather(project))


def test_record_without_an_adaptation_is_of_other_parameters(made, tmp_path):
    project = shutil.copytree(made, tmp_path / "project")
    (project / "data/target/domain.json").write_text('{"scenario": null}')
    with pytest.raises(DataError, match="adaptation is off: run `dvc repro target`"):
        gather(project)


def test_target_without_labels_shows_the_source_alone(made, tmp_path):
    project = shutil.copytree(made, tmp_path / "project")
    table = pd.read_csv(project / "comparison/adaptation.csv")
    table[table["domain"] == "source"].to_csv(project / "comparison/adaptation.csv", index=False)
    for name in ("gap.csv", "adaptation_structures.csv"):
        (project / "comparison" / name).unlink()
    content = section(gather(project))
    assert (content["by_structure"], content["overlay"], content["hindsight"]) == (None, None, None)
    assert content["methods"].rows[0][3] == "–"
