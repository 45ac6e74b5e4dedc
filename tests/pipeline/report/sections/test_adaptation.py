import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.report.artefacts import Artefacts, gather
from pipeline.report.overlays import case_overlays
from pipeline.report.page import render
from pipeline.report.sections.adaptation import adaptation_chart, hindsight, section
from tests.pipeline.report.fake_adaptation import make_adaptation
from tests.pipeline.report.fake_artefacts import make_artefacts

SEEDS = (0, 3)
pytestmark = pytest.mark.usefixtures("blank_charts")


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


@pytest.fixture
def project(made: Callable[[str], Path], tmp_path: Path) -> Path:
    """Artefacts of the scenario cohort, to be changed."""
    return Path(shutil.copytree(made("cohort"), tmp_path / "project"))


@pytest.fixture(scope="module")
def adapted(made: Callable[[str], Path]) -> Artefacts:
    return gather(made("cohort"))


def test_without_an_adaptation_there_is_no_section(plain: Path) -> None:
    assert section(gather(plain)) is None


def test_methods_are_printed_with_their_share_of_the_gap(adapted: Artefacts) -> None:
    content = section(adapted)
    rows = {row[0]: row[1:] for row in content["methods"].rows}
    assert list(rows) == ["Source only", "JADA", "JADA without output alignment", "Supervised on the target"]
    # Target cases have 0.70, 0.71 and 0.72, source-only 0.2 less and supervised training 0.2 more in each.
    assert rows["JADA"][2] == "0.710"
    assert rows["JADA"][5:] == ["50 %", "50 % to 50 %"]
    assert rows["JADA without output alignment"][5] == "25 %"
    assert rows["Source only"][5:] == ["0 %", "by definition"]
    assert rows["Supervised on the target"][4] == "2.0"  # HD95, mm: 20 (1 - 0.9)


def test_structures_and_both_means_are_printed(adapted: Artefacts) -> None:
    content = section(adapted)
    rows = content["by_structure"].rows
    assert [row[0] for row in rows[-2:]] == ["mean of seven", "mean of four (AO, LA, LV, Myo)"]
    assert rows[0] == ["LV", "0.510", "0.710", "0.910", "+0.200", "+0.200 to +0.200"]


def test_median_case_is_drawn_with_and_without_adaptation(adapted: Artefacts) -> None:
    content = section(adapted)
    overlay = content["overlay"]
    assert (overlay.rank, overlay.pair) == ("median", "ct_2002+mr_2002")
    assert overlay.dice == pytest.approx({"Source only": 0.51, "JADA": 0.71})
    assert list(overlay.planes["axial"]) == ["CT", "MR, registered", "Truth", "Source only", "JADA"]


def test_hindsight_is_averaged_over_seeds() -> None:
    first = pd.DataFrame({"epoch": [1, 2], "chosen": [True, False], "target_dice": [0.5, 0.6]})
    found = hindsight([first, first.assign(target_dice=[0.7, 0.7])])
    assert found == pytest.approx({"kept": 0.6, "best": 0.65, "epochs": 2})
    assert hindsight([first.assign(chosen=False)]) is None


def test_curves_leave_out_what_was_not_recorded(adapted: Artefacts) -> None:
    curves = [adapted.curves["crossmodalnet", seed] for seed in SEEDS]
    assert adaptation_chart(curves).startswith("data:image/svg+xml")
    assert adaptation_chart([curves[0][["epoch", "marginal_accuracy"]]]).startswith("data:image/svg+xml")
    assert adaptation_chart([pd.DataFrame({"epoch": [1, 2], "loss": 1.0})]) == ""


def test_page_says_what_was_adapted_and_by_what(adapted: Artefacts) -> None:
    page = render(adapted, case_overlays(adapted))
    for text in (
        '<a href="#adaptation">',
        "From the labelled pairs of the cohort to those of a second cohort of phantoms. Source: 2 for training, 1 for "
        "validation, 5 for tests. Target: 2 for training, 1 for validation, 3 for tests.",
        "strengths: marginal: features (1) and topology: spanning trees (0.5).",
        "<p>JADA recovers 50 % [50, 50]",
        "the best of 3 validated epochs has 0.750",
    ):
        assert text in page
    assert "not comparable with the phantom" not in page


def test_between_modalities_there_is_neither_atlas_nor_registration(made: Callable[[str], Path]) -> None:
    adapted = gather(made("ct_to_mr"))
    assert adapted.methods == ["crossmodalnet"]
    assert {name: sorted(files) for name, files in adapted.images.items()} == {
        "ct_1001": ["ct", "truth"], "ct_1002": ["ct", "truth"],
    }  # fmt: skip
    content = section(adapted)
    assert [row[2] for row in content["published"].rows] == ["0.157", "0.634", "0.836"]
    assert list(content["overlay"].planes["axial"]) == ["MR", "Truth", "Source only", "JADA"]
    page = render(adapted, case_overlays(adapted))
    assert "From labelled CT images to MR images of other people" in page
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
def test_missing_artefact_is_reported_with_its_stage(project: Path, path: str, stage: str) -> None:
    (project / path).unlink()
    name = Path(path).name.replace("+", ".")
    with pytest.raises(DataError, match=rf"{name} not found: run `dvc repro {stage}`"):
        section(gather(project))


def test_record_without_an_adaptation_is_of_other_parameters(project: Path) -> None:
    (project / "data/target/domain.json").write_text('{"scenario": null}')
    with pytest.raises(DataError, match="adaptation is off: run `dvc repro target`"):
        gather(project)


def test_target_without_labels_shows_the_source_alone(project: Path) -> None:
    table = pd.read_csv(project / "comparison/adaptation.csv")
    table[table["domain"] == "source"].to_csv(project / "comparison/adaptation.csv", index=False)
    for name in ("gap.csv", "adaptation_structures.csv"):
        (project / "comparison" / name).unlink()
    content = section(gather(project))
    assert (content["by_structure"], content["overlay"], content["hindsight"]) == (None, None, None)
    assert content["methods"].rows[0][3] == "–"
