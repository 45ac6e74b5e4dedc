from collections.abc import Callable
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError, UsageError
from pipeline.cohort.preview import params_for, preview
from pipeline.config.sections import DataConfig, SplitConfig


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


def of(path: Path) -> DataConfig:
    return DataConfig(source="mmwhs", path=str(path))


def test_a_folder_laid_out_like_mmwhs(cohort: Path) -> None:
    found = preview(of(cohort), SplitConfig())
    text = "\n".join(found.lines())
    assert found.findings == []
    assert len(found.subjects) == 8
    assert [pair.role for pair in found.pairs].count("test") == 1
    assert "8 scans of 8 patients; label values: those of MM-WHS" in text
    assert "3 pairs, 0 of them the CT and MR of one patient" in text
    assert not Path("data").exists()
    assert list(Path(".work/data_check/collected").iterdir()) == []


def test_findings_keep_pairs_back(cohort: Path) -> None:
    next(cohort.rglob("ct_train_1001_label.nii.gz")).unlink()
    found = preview(of(cohort), SplitConfig())
    assert found.pairs == []
    assert "training image without label map" in [f.what for f in found.findings]


def test_a_split_that_is_impossible_is_a_finding(cohort: Path) -> None:
    found = preview(of(cohort), SplitConfig(folds=5))
    assert [f.what for f in found.findings] == ["split.folds = 5 needs as many subjects, found 3"]


def test_archives_are_looked_into(cohort: Path, zipped: Callable[[str, dict[str, bytes]], Path]) -> None:
    members = {path.name: path.read_bytes() for path in cohort.rglob("*.nii.gz")}
    assert len(preview(of(zipped("all.zip", members)), SplitConfig()).subjects) == 8


def test_nothing_there() -> None:
    with pytest.raises(DataError, match="does not exist"):
        preview(of(Path("lacks")), SplitConfig())


OWN = {"source": "table", "path": "a.csv", "labels": {"LV": 1}, "missing": ["PA"], "max_unpacked_gb": 7.0}


def test_what_is_given_goes_before_what_params_yaml_says(tmp_path: Path) -> None:
    table = tmp_path / "b.csv"
    table.touch()
    found = params_for(str(table), "{LV: 3, Myo: [4, 5]}", ["AO"], read=OWN)
    assert (found.source, found.path, found.labels) == ("table", str(table), {"LV": 3, "Myo": [4, 5]})
    assert (found.missing, found.max_unpacked_gb) == (["AO"], 7.0)
    assert params_for(None, None, [], read=OWN) == DataConfig(**OWN)
    assert params_for(str(table), "index", [], read={}).labels == "index"


def test_labels_of_a_table_are_none_of_mmwhs(cohort: Path) -> None:
    found = params_for(str(cohort), None, [], read=OWN)
    assert (found.source, found.labels, found.missing) == ("mmwhs", "auto", [])
    with pytest.raises(UsageError, match="labels and missing are of source table"):
        params_for(str(cohort), "index", [], read=OWN)


def test_what_cannot_be_meant(tmp_path: Path) -> None:
    (tmp_path / "b.csv").touch()
    with pytest.raises(UsageError, match="which is made and not found"):
        params_for(None, None, [], read={})
    with pytest.raises(UsageError, match="is not valid YAML"):
        params_for(str(tmp_path / "b.csv"), "{LV: 1", [], read={})
    with pytest.raises(UsageError, match="unknown structure 'liver'"):
        params_for(str(tmp_path / "b.csv"), "{liver: 1}", [], read={})
    with pytest.raises(DataError, match="does not exist"):
        params_for("lacks.csv", None, [], read={})


def test_a_path_of_the_command_line_is_no_parameter() -> None:
    with pytest.raises(DataError, match=r"^PATH = lacks\.csv does not exist"):
        params_for("lacks.csv", None, [], read={"path": "other"})
