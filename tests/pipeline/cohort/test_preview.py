from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.errors import DataError, UsageError
from pipeline.cohort.preview import params_for, preview
from pipeline.config.sections import DataConfig, SplitConfig
from tests.pipeline.cohort.conftest import AFFINE, CODES

OWN = {"source": "table", "path": "a.csv", "labels": {"LV": 1}, "missing": ["PA"], "max_unpacked_gb": 7.0}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


def of(path: Path) -> DataConfig:
    return DataConfig(source="mmwhs", path=str(path))


def test_preview_of_an_mmwhs_folder(cohort: Path) -> None:
    lines, findings = preview(of(cohort), SplitConfig())
    text = "\n".join(lines)
    assert findings == []
    assert text.count("\ntest ") == 1
    assert "8 scans of 8 patients; label values (MM-WHS): LV 500, RV 600, LA 420/421" in text
    assert "3 pairs, 0 of them the CT and MR of one patient" in text
    assert not Path("data").exists()
    assert list(Path(".work/data_check/collected").iterdir()) == []


def test_errors_suppress_pairs(cohort: Path) -> None:
    next(cohort.rglob("ct_train_1001_label.nii.gz")).unlink()
    path = next(cohort.rglob("mr_train_1003_label.nii.gz"))
    nib.save(nib.Nifti1Image(np.where(CODES == 820, 0, CODES), AFFINE), path)
    lines, findings = preview(of(cohort), SplitConfig())
    assert [line.partition(":")[0] for line in lines] == ["picture of the labels of mr_1003, ct_1002"]
    assert "training image without label map" in [f.what for f in findings]


def test_impossible_split_is_a_finding(cohort: Path) -> None:
    _, findings = preview(of(cohort), SplitConfig(folds=5))
    assert [f.what for f in findings] == ["split.folds = 5 needs as many subjects, found 3"]


def test_arguments_override_params_yaml(tmp_path: Path) -> None:
    table = tmp_path / "b.csv"
    table.touch()
    found = params_for(str(table), "{LV: 3, Myo: [4, 5]}", ["AO"], section=OWN)
    assert (found.source, found.path, found.labels) == ("table", str(table), {"LV": 3, "Myo": [4, 5]})
    assert (found.missing, found.max_unpacked_gb) == (["AO"], 7.0)
    assert params_for(None, None, [], section=OWN) == DataConfig(**OWN)
    assert params_for(str(table), "index", [], section={}).labels == "index"


def test_labels_of_a_table_do_not_apply_to_mmwhs(cohort: Path) -> None:
    found = params_for(str(cohort), None, [], section=OWN)
    assert (found.source, found.labels, found.missing) == ("mmwhs", "auto", [])
    with pytest.raises(UsageError, match="labels and missing are of source table"):
        params_for(str(cohort), "index", [], section=OWN)


def test_invalid_arguments_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b.csv").touch()
    table = str(tmp_path / "b.csv")
    for path, labels, message in (
        (None, None, "which is made and not found"),
        (table, "{LV: 1 RV: 2}", "is not valid YAML: separate entries by commas"),
        (table, "{liver: 1}", "unknown structure 'liver'"),
    ):
        with pytest.raises(UsageError, match=message):
            params_for(path, labels, [], section={})
    with pytest.raises(UsageError, match=r"'A0': did you mean AO\?"):
        params_for(table, None, ["A0"], section={})


def test_a_path_of_the_command_line_is_no_parameter() -> None:
    with pytest.raises(DataError, match=r"^PATH = lacks\.csv does not exist"):
        params_for("lacks.csv", None, [], section={"path": "other"})
