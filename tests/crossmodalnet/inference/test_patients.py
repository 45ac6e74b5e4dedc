import os
import re
import zipfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from crossmodalnet.errors import DataError, ResourceError, UsageError
from crossmodalnet.inference import patients
from crossmodalnet.inference.patients import PatientTask, predict_patient, unzipped
from crossmodalnet.inference.predictor import Prediction, Progress
from crossmodalnet.inference.write import PatientScans, origin_of, prediction_folder
from crossmodalnet.roi.box import Box
from tests.crossmodalnet.inference.test_write import CARD, prediction


def fake_predictor(error: Exception | None = None) -> Mock:
    """Fails for a folder and for a CT of the name bad.nii, or with an error for any CT."""

    def predict(ct: Path, progress: Progress, **_: Any) -> Prediction:
        progress("reading")
        if error:
            raise error
        if ct.is_dir() or ct.name == "bad.nii":
            problem = ValueError(f"CT {ct}: cannot be read")
            problem.add_note("look at this: its header")
            raise problem
        return prediction()

    return Mock(side_effect=predict, cards=(CARD,))


def task(out: Path, ct: Path | None, model: str = "one", codes: str = "mmwhs") -> PatientTask:
    scans = PatientScans(out.name, ct, None)
    return PatientTask(scans, out, origin_of(scans, model, codes=codes))


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    (tmp_path / "a.nii").write_text("a", "utf-8")
    return tmp_path / "a.nii"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError("the network does not fit into memory"), ResourceError, "does not fit"),
        (MemoryError(), ResourceError, "not enough memory for scans of this size"),
        (torch.OutOfMemoryError("CUDA out of memory"), ResourceError, "try --device cpu"),
        (OSError(28, "No space left on device"), ResourceError, "TMPDIR"),
        (RuntimeError("bad_alloc"), ResourceError, "not enough memory"),
        (ValueError("CT: has no contrast"), DataError, "p: CT: has no contrast"),
    ],
)
def test_errors_blame_the_machine_or_the_scans(
    tmp_path: Path, ct: Path, error: Exception, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        predict_patient(fake_predictor(error), task(tmp_path / "p", ct))
    assert not (tmp_path / "p").exists()


def test_output_is_checked_before_any_work(tmp_path: Path, ct: Path) -> None:
    fake = fake_predictor()
    with pytest.raises(ResourceError, match="cannot be written"):
        predict_patient(fake, task(ct / "p", ct))
    with pytest.raises(UsageError, match=r"a\.nii lies in"):
        predict_patient(fake, task(tmp_path, ct))
    with prediction_folder(tmp_path / "p"), pytest.raises(ResourceError, match="being written by another"):
        predict_patient(fake, task(tmp_path / "p", ct))
    fake.assert_not_called()
    predict_patient(fake, task(tmp_path / "p", ct))
    fake.assert_called_once()


def run(folder: Path, *, model: str = "one", codes: str = "mmwhs", table: str = "t.csv") -> list[str]:
    """Segment a table in which b is bad, and return the scans that were segmented."""
    fake = fake_predictor()
    cohort = patients.read_cohort_table(folder / table)
    tasks = [task(folder / "out" / scans.name, scans.ct, model, codes) for scans in cohort]
    with pytest.raises(DataError, match=r"1 of 3 patients were not segmented:\n  b: CT .*bad.nii: cannot"):
        patients.predict_patients(tasks, partial(patients.one_after_another, fake))
    return [call.kwargs["ct"].name for call in fake.call_args_list]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("patient,ct,mr\na,a.nii,\nb,bad.nii,\nc,c.nii,\n", "utf-8")
    for name in ("a", "bad", "c"):
        (tmp_path / f"{name}.nii").write_text(name, "utf-8")
    return tmp_path


def test_failed_patients_stop_no_other_and_are_repeated(cohort: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert run(cohort) == ["a.nii", "bad.nii", "c.nii"]
    assert re.search(r"patient 1/3 a \(\d+ s, about \d+ s left\)", caplog.text)
    assert re.search(r"a: reading \(\d+ s\)", caplog.text)
    assert {"a: look at this: not found: pulmonary artery", "b: look at this: its header"} <= {*caplog.messages}
    assert f"open {cohort / 'out/a/preview.html'} in a browser" in caplog.text
    assert [p.name for p in sorted((cohort / "out").iterdir())] == ["a", "c"]
    assert run(cohort) == ["bad.nii"]


def test_finished_patients_are_those_of_the_same_scans_model_and_codes(cohort: Path) -> None:
    run(cohort)
    (cohort / "c.nii").write_text("another scan of the same name", "utf-8")
    assert run(cohort) == ["bad.nii", "c.nii"]
    assert run(cohort, model="two") == ["a.nii", "bad.nii", "c.nii"]
    assert run(cohort, model="two", codes="index") == ["a.nii", "bad.nii", "c.nii"]
    (cohort / "a.nii").rename(cohort / "moved.nii")
    (cohort / "u.csv").write_text("patient,ct\na,moved.nii\nb,bad.nii\nc,c.nii\n", "utf-8")
    assert run(cohort, model="two", codes="index", table="u.csv") == ["bad.nii"]
    for damaged in ("{", "[]", '{"made_from": {"inputs": 3}}'):
        (cohort / "out/a/run.json").write_text(damaged, "utf-8")
        assert run(cohort, model="two", codes="index", table="u.csv") == ["moved.nii", "bad.nii"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,ct\na,b\n", "column patient is missing"),
        ("patient,age\na,b\n", "no column ct or mr"),
        ("patient,ct\n", "has no rows"),
        ("patient,ct\na,x\nA,y\n", "row 3: patient A a second time"),
        ("patient,ct\n../a,x\n", "row 2: '../a' is no name for a folder"),
        ("patient,ct\n.a,x\n", "is no name for a folder"),
        ("patient,ct,mr\na,,\n", "row 2: patient a has neither"),
        ("patient,ct\n,\n\n=1+1,x\n", "row 4: patient's name '=1\\+1' begins with a sign"),
        ("patient,ct\np\x1b[31m,x\n", "row 2: patient's name .* cannot be printed"),
        ("Patient,CT,MRI\na,x,y\n", "row 1: unknown column mri: did you mean mr?"),
        ("patient,ct path,mr\na,x,y\n", "row 1: unknown column ct path: did you mean ct?"),
        ("patient,ct\nMu\u0308ller,x\nM\u00fcller,y\n", "row 3: patient M\u00fcller a second time"),
        ("patient,ct\na,x\nb,y,z\n", "row 3: has 3 fields, the header 2"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        patients.read_cohort_table(tmp_path / "t.csv")


def test_names_that_may_be_one_person_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_text("patient,ct,mr\n001,x,\n2,y,\n1,,z\n")
    patients.read_cohort_table(tmp_path / "t.csv")
    assert "belong in one row: 001 and 1" in caplog.text


def test_missing_table_and_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(DataError, match="is no regular file"):
        patients.read_cohort_table(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"none\.csv: table: not found"):
        patients.read_cohort_table(tmp_path / "none.csv")


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 4 5 x", "0 0 0 1 1 0", "0 0 0 1 1 inf", "nan 0 0 1 1 1"])
def test_box_is_two_corners(text: str) -> None:
    with pytest.raises(UsageError, match="--box must be"):
        patients.read_box(text)
    assert patients.read_box("-1, -2 -3 4 5 6") == Box((-1.0, -2.0, -3.0), (4.0, 5.0, 6.0))


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name in names:
            opened.writestr(name, name)
    return path


def test_dicom_in_archives_is_unpacked_for_the_prediction(tmp_path: Path) -> None:
    names = ("s/a/1.dcm", "s/b/IM0001", "s/1.2.840.77")
    others = ("s/README.txt", "DICOMDIR", "__MACOSX/s/._1.dcm", "s/.hidden")
    packed, other = archive(tmp_path / "s.zip", *names, *others), tmp_path / "mr.nii.gz"
    with unzipped(PatientScans("p", packed, other, ("late",))) as scans:
        assert scans.ct is not None
        assert sorted(file.read_text("utf-8") for file in scans.ct.iterdir()) == sorted(names)
        assert (scans.mr, scans.series) == (other, ("late",))
    assert not scans.ct.exists()


def test_errors_name_the_archive_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^p: CT \S*/s\.zip: cannot be read$"):
        predict_patient(fake_predictor(), task(tmp_path / "p", archive(tmp_path / "s.zip", "1.dcm")))


@pytest.mark.parametrize(
    ("member", "message"),
    [("ct.nii.gz", "holds no file that could be DICOM"), ("../1.dcm", "leaves the folder"), (None, r"s\.zip")],
)
def test_bad_archives(tmp_path: Path, member: str | None, message: str) -> None:
    (tmp_path / "s.zip").write_text("text", "utf-8")
    if member:
        archive(tmp_path / "s.zip", member)
    with pytest.raises(DataError, match=message), unzipped(PatientScans("p", tmp_path / "s.zip", None)):
        pass
