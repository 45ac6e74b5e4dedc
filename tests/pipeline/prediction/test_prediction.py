"""What is written of a prediction, and many patients one after the other."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.doubts import Doubt, Flag
from crossmodalnet.inference.result import Prediction
from crossmodalnet.roi.box import Box
from pipeline.prediction.many_patients import predict_cohort, read_cohort_table
from pipeline.prediction.options import read_box
from pipeline.prediction.origin import PatientScans, digest_models, origin_of
from pipeline.prediction.patient import load_predictor, predict_patient
from pipeline.prediction.write import prediction_folder, write_prediction
from pipeline.runtime.errors import DataError, ResourceError, UsageError

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
NAMES = ("LV", "RV", "LA", "RA", "Myo", "AO", "PA")
CARD: Any = SimpleNamespace(name="crossmodalnet", seed=0, validation_dice=0.9)


def prediction(**changes: Any) -> Prediction:
    labels = np.zeros((20, 20, 16), np.uint8)
    labels[4:8, 4:8, 4:8] = 5
    labels[10:12, 10:12, 10:12] = 1
    image = np.random.default_rng(0).uniform(-500, 500, labels.shape).astype(np.float32)
    found: dict[str, Any] = {
        "ct": Volume(image, AFFINE), "mr": None, "ct_labels": Volume(labels, AFFINE), "mr_labels": None,
        "box": Box((0.0, 0.0, 0.0), (30.0, 30.0, 30.0)),
        "confidence": dict.fromkeys(NAMES, 0.9) | {"PA": float("nan")},
        "agreement": {}, "registration": None, "doubts": (Doubt(Flag.MISSING, "not found: pulmonary artery"),),
    }  # fmt: skip
    return Prediction(**found | changes)


def write(out: Path, codes: str = "mmwhs", **changes: Any) -> dict[str, Any]:
    origin = origin_of(PatientScans("p", out.parent / "=x.nii", None), "digest", codes=codes, box=None)
    with prediction_folder(out) as new:
        return write_prediction(
            new, prediction(**changes), [CARD], origin=origin, at=origin.scans, seconds=1.0
        )


def test_all_that_is_promised_is_written(tmp_path: Path) -> None:
    record = write(tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "labels_ct.nii.gz", "preview.html", "preview.png", "run.json", "volumes.csv",
    }  # fmt: skip
    assert json.loads((tmp_path / "out/run.json").read_text("utf-8")) == record
    assert record["confidence"]["PA"] is None
    assert record["quality_flags"] == [{"flag": "structure_missing", "says": "not found: pulmonary artery"}]
    labels = nib.load(tmp_path / "out/labels_ct.nii.gz")
    assert set(np.unique(labels.dataobj)) == {0, 205, 500}
    np.testing.assert_array_equal(labels.affine, AFFINE)
    with Image.open(tmp_path / "out/preview.png") as picture:
        assert min(picture.size) > 300


def test_volumes_are_millilitres_and_the_mass_is_the_myocardium_s(tmp_path: Path) -> None:
    write(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/volumes.csv").set_index("structure")
    assert table.loc["Myo", "volume_ml"] == pytest.approx(64 * 10 / 1000)
    assert table.loc["Myo", "mass_g"] == pytest.approx(0.64 * 1.05, abs=1e-3)
    assert table.loc["LV", "volume_ml"] == pytest.approx(8 * 10 / 1000)
    assert table["mass_g"].notna().sum() == 1


@pytest.mark.parametrize("shows_heart", [True, False])
def test_a_pair_has_a_picture_of_the_mr_too(tmp_path: Path, shows_heart: bool) -> None:
    """Where the MR shows nothing of the heart there is nothing to draw."""
    values = np.zeros((24, 24, 20), np.uint8)
    values[8:14, 8:14, 8:14] = 2 * shows_heart
    far = np.diag([2.0, 2.0, 2.0, 1.0]) + np.array([[0, 0, 0, 500.0]] + [[0.0] * 4] * 3)
    image = Volume(np.random.default_rng(0).uniform(0, 300, values.shape).astype(np.float32), far)
    write(tmp_path / "out", mr=image, mr_labels=Volume(values, far))
    assert (tmp_path / "out/preview_mr.png").exists() == shows_heart
    if shows_heart:
        with Image.open(tmp_path / "out/preview_mr.png") as picture:
            blue = (np.asarray(picture, int) * (-1, -1, 2)).sum(axis=-1) > 60  # of the right ventricle
        assert blue.sum() > 1000


def test_index_codes_and_the_mr_grid(tmp_path: Path) -> None:
    mr_labels = Volume(np.full((9, 9, 9), 7, np.uint8), np.eye(4))
    image = Volume(np.ones((9, 9, 9), np.float32), np.eye(4))
    write(tmp_path / "out", "index", mr=image, mr_labels=mr_labels)
    assert set(np.unique(nib.load(tmp_path / "out/labels_mr.nii.gz").dataobj)) == {7}


@pytest.mark.parametrize(
    ("codes", "myocardium", "left_ventricle"),
    [("mmwhs", 205, 500), ("index", 5, 1), ("totalsegmentator", 1, 3), ("totalsegmentator_v1", 44, 46)],
)
def test_codes_of_others(tmp_path: Path, codes: str, myocardium: int, left_ventricle: int) -> None:
    record = write(tmp_path / "out", codes)
    values = np.asarray(nib.load(tmp_path / "out/labels_ct.nii.gz").dataobj)
    assert values[5, 5, 5] == record["label_values"]["Myo"] == myocardium
    assert values[11, 11, 11] == record["label_values"]["LV"] == left_ventricle


def test_a_series_that_cannot_be_referred_to_has_no_dicom_segmentation_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "series").mkdir()
    origin = origin_of(PatientScans("p", tmp_path / "series", None), "", codes="mmwhs", box=None)
    with prediction_folder(tmp_path / "out") as new:
        write_prediction(new, prediction(), [CARD], origin=origin, at=origin.scans, seconds=1.0)
    assert "CT: no DICOM segmentation: holds no DICOM series" in caplog.text
    assert not (tmp_path / "out/labels_ct.dcm").exists()


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other files"):
        write(tmp_path / "mine")
    assert (tmp_path / "mine/thesis.tex").exists()
    write(tmp_path / "out")
    write(tmp_path / "out")  # an earlier prediction is replaced
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is no folder"):
        write(tmp_path / "file")


def test_a_file_beside_an_earlier_prediction_is_not_deleted(tmp_path: Path) -> None:
    write(tmp_path / "out")
    (tmp_path / "out/notes.txt").touch()
    with pytest.raises(UsageError, match=r"holds other files and would be replaced \(notes\.txt\)"):
        write(tmp_path / "out")


def test_what_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fake: Any = Fake()
    origin = origin_of(PatientScans("p", tmp_path / "a.nii", None), "digest", codes="mmwhs", box=None)
    with pytest.raises(ResourceError, match="cannot be written"):
        predict_patient(fake, origin, tmp_path / "file/out")
    assert fake.calls == []


def test_where_this_runs_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out/inside").mkdir(parents=True)
    for where in ("out", "out/inside"):
        monkeypatch.chdir(tmp_path / where)
        with pytest.raises(UsageError, match="is where this runs, and would be replaced"):
            write(tmp_path / "out")


def test_of_two_runs_with_one_output_the_second_ends_before_any_work(tmp_path: Path) -> None:
    fake: Any = Fake()
    origin = origin_of(PatientScans("p", tmp_path / "a.nii", None), "digest", codes="mmwhs", box=None)
    with prediction_folder(tmp_path / "out"), pytest.raises(ResourceError, match="being written by another"):
        predict_patient(fake, origin, tmp_path / "out")
    assert fake.calls == []
    predict_patient(fake, origin, tmp_path / "out")
    assert len(fake.calls) == 1


class Fake:
    """A predictor that fails for a CT of the name bad."""

    cards = (CARD,)

    def __init__(self) -> None:
        self.calls: list[Path] = []

    def __call__(self, ct: Path, mr: Path | None, **_: Any) -> Prediction:
        self.calls.append(ct)
        if ct.name == "bad.nii":
            raise ValueError(f"CT {ct}: is not a NIfTI file")
        return prediction()


def run(folder: Path, *, model: str = "one", codes: str = "mmwhs", table: str = "t.csv") -> list[str]:
    """Segment a table and tell whose network ran; b is bad."""
    fake: Any = Fake()
    with pytest.raises(DataError, match=r"1 of 3 patients were not segmented:\n  b: CT .*bad.nii: is not"):
        predict_cohort(fake, model, read_cohort_table(folder / table), folder / "out", codes=codes)
    return [ct.name for ct in fake.calls]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("patient,ct,mr\na,a.nii,\nb,bad.nii,\nc,c.nii,\n", "utf-8")
    for name in ("a", "bad", "c"):
        (tmp_path / f"{name}.nii").write_text(name, "utf-8")
    return tmp_path


def test_the_time_that_is_left_is_told_once_it_can_be_known(
    cohort: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run(cohort)
    patients = [line for line in caplog.messages if line.startswith("patient ")]
    assert patients[0] == "patient 1 of 3: a"
    assert re.fullmatch(r"patient 2 of 3: b, about \d+ s left", patients[1])


def test_one_bad_patient_stops_no_other_and_a_rerun_does_the_rest(cohort: Path) -> None:
    assert run(cohort) == ["a.nii", "bad.nii", "c.nii"]
    assert [p.name for p in sorted((cohort / "out").iterdir())] == ["a", "c"]
    assert run(cohort) == ["bad.nii"]


def test_what_is_done_is_done_with_the_same_scans_model_and_codes(cohort: Path) -> None:
    run(cohort)
    (cohort / "c.nii").write_text("another scan of the same name", "utf-8")
    assert run(cohort) == ["bad.nii", "c.nii"]
    assert run(cohort, model="two") == ["a.nii", "bad.nii", "c.nii"]
    assert run(cohort, model="two", codes="index") == ["a.nii", "bad.nii", "c.nii"]
    (cohort / "a.nii").rename(cohort / "moved.nii")
    (cohort / "u.csv").write_text("patient,ct\na,moved.nii\nb,bad.nii\nc,c.nii\n", "utf-8")
    assert run(cohort, model="two", codes="index", table="u.csv") == ["bad.nii"]
    (cohort / "out/a/run.json").write_text("{", "utf-8")  # a damaged record is no finished prediction
    assert run(cohort, model="two", codes="index", table="u.csv") == ["moved.nii", "bad.nii"]


def test_a_model_is_known_by_the_content_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}", "utf-8")
    before = digest_models([tmp_path])
    (tmp_path / "recipe.json").write_text("{}", "utf-8")
    assert digest_models([tmp_path]) != before


def test_a_folder_of_dicom_is_known_by_its_files(tmp_path: Path) -> None:
    digests = []
    for name in ("1", "2"):
        (tmp_path / name).write_text(name, "utf-8")
        digests.append(origin_of(PatientScans("p", tmp_path, None), "", codes="index", box=None).scan_digests)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,ct\na,b\n", "needs the columns patient"),
        ("patient,age\na,b\n", "needs the columns patient"),
        ("\ufeffpatient;ct;mr\r\na;x,1;y\r\n", "row 1: columns are separated by ';', not by commas: save"),
        ("patient,ct\n", "has no rows"),
        ("patient,ct\na,x\nA,y\n", "row 3: patient A a second time"),
        ("patient,ct\n../a,x\n", "row 2: '../a' is no name for a folder"),
        ("patient,ct\n.a,x\n", "is no name for a folder"),
        ("patient,ct,mr\na,,\n", "row 2: patient a has neither"),
        ("patient,ct\n,\n\n=1+1,x\n", "row 4: patient's name '=1\\+1' begins with a sign"),
        ("patient,ct\np\x1b[31m,x\n", "row 2: patient's name .* cannot be printed"),
        ("patient,ct,ct\na,x,y\n", "column ct twice"),
        ("patient,ct\na,x\nb,y,z\n", "row 3: not a CSV"),
        ("patient,ct" + "," * 10**6 + "\n", "row 1: more than 1000 columns"),
        ("", "the table is empty"),
    ],
)
def test_bad_tables_name_the_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_cohort_table(tmp_path / "t.csv")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(DataError, match="is no regular file"):
        read_cohort_table(tmp_path / "t.csv")


def test_a_missing_table_and_model_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: table: not found"):
        read_cohort_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"card\.json not found: --model takes a folder"):
        load_predictor([tmp_path], "cpu")


def test_no_scan_is_a_usage_error(tmp_path: Path) -> None:
    fake: Any = Fake()
    nothing = origin_of(PatientScans("p", None, None), "", codes="mmwhs", box=None)
    with pytest.raises(UsageError, match="--ct, --mr or both"):
        predict_patient(fake, nothing, tmp_path / "out")


class Telling(Fake):
    """A predictor that tells steps as the real one does, and fails as it may."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    def __call__(self, ct: Path, mr: Path | None, **more: Any) -> Prediction:
        more["progress"]("reading", None)
        more["progress"]("search for the heart", 68.0)
        more["progress"]("network", 3.0)
        if self.error:
            raise self.error
        return super().__call__(ct, mr)


def one_patient(tmp_path: Path, fake: Any) -> None:
    (tmp_path / "a.nii").write_text("a", "utf-8")
    scans = PatientScans("p", tmp_path / "a.nii", None)
    predict_patient(fake, origin_of(scans, "", codes="mmwhs", box=None), tmp_path / "out")


def test_the_time_it_takes_is_told_before_the_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        one_patient(tmp_path, Telling())
    told = [line.partition(" (")[0] for line in caplog.messages[:5]]
    assert told == [
        "p: reading", "p: about 68 s on this machine", "p: search for the heart", "p: network", "p: writing",
    ]  # fmt: skip
    assert "about 68 s left" in caplog.messages[2]
    assert "about 3 s left" in caplog.messages[3]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError("the network does not fit into the memory of its device"), "does not fit"),
        (MemoryError(), "not enough memory for scans of this size"),
        (torch.OutOfMemoryError("CUDA out of memory"), "try --device cpu"),
        (OSError(28, "No space left on device"), "TMPDIR names another"),
    ],
)
def test_what_the_machine_lacks_is_no_fault_of_the_scans(tmp_path: Path, error: Exception, says: str) -> None:
    with pytest.raises(ResourceError, match=says):
        one_patient(tmp_path, Telling(error))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 4 5 x", "0 0 0 1 1 0", "0 0 0 1 1 inf"])
def test_a_box_is_two_corners(text: str) -> None:
    with pytest.raises(UsageError, match="--box must be"):
        read_box(text)
    assert read_box("-1, -2 -3 4 5 6") == Box((-1.0, -2.0, -3.0), (4.0, 5.0, 6.0))
