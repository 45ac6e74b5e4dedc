"""Bad inputs: each has its message and its exit code, and no file of the user is lost."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmodalnet.io.outputs import file_digest
from stages import app as console
from tests.pipeline.cohort.conftest import CODES, SHAPE
from tests.stages.conftest import Place

CT, CT_LABEL, MR = "ct_train_1001_image.nii.gz", "ct_train_1001_label.nii.gz", "mr_train_1001_image.nii.gz"


def replaced(old: int, new: float) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        place.image(CT_LABEL, np.where(old == CODES, new, CODES).astype(np.float64))

    return change


def truncated(place: Place) -> None:
    (place.cohort / CT).write_bytes((place.cohort / CT).read_bytes()[:-40])


def instead(make: Callable[[Path], Any], name: str = CT) -> Callable[[Place], None]:
    """Put something else where a file of the cohort was."""

    def change(place: Place) -> None:
        (place.cohort / name).unlink()
        make(place.cohort / name)

    return change


def table_pipe(place: Place) -> None:
    place.table(HEADER + ROW)
    instead(os.mkfifo, "hearts.csv")(place)


def copied(folder: str, path: str) -> Callable[[Place], None]:
    """Copy the cohort into the project, where `mine` leads to models/own, and name it by a path."""

    def change(place: Place) -> None:
        shutil.copytree(place.cohort, place.top / folder)
        for name in ("data/registered", "x"):
            (place.top / name).mkdir(parents=True)
        (place.top / "mine").symlink_to("models/own")
        place.params(path=path)

    return change


def links_inside(place: Place) -> None:
    (place.top / "data/cropped").mkdir(parents=True)
    shutil.move(place.cohort / CT, place.top / "data/cropped" / CT)
    (place.cohort / CT).symlink_to(place.top / "data/cropped" / CT)


def bomb(place: Place) -> None:
    place.zipped({**place.all_in(), "ct_train_1009_image.nii.gz": bytes(2**27)})


def nested_bomb(place: Place) -> None:
    inner = place.zipped({"ct_train_1009_image.nii.gz": bytes(2**27)}).read_bytes()
    place.zipped({**place.all_in(), "more.zip": inner})


def lost_archive(place: Place) -> None:
    archive = place.zipped(place.all_in())
    data = bytearray(archive.read_bytes())
    data[200] ^= 0xFF
    (place.cohort / "rest.zip").write_bytes(data)
    place.params(path=str(place.cohort))


HEADER = "patient,modality,image,label\n"
ROW = f"A,ct,{CT},{CT_LABEL}\n"
# What is done to the cohort or the parameters, the exit code, and a sentence that the user must see.
INPUTS: dict[str, tuple[Callable[[Place], Any], int, str]] = {
    "no such folder": (lambda p: p.params(path="/no/such"), 3, "data.path = /no/such does not exist"),
    "empty folder": (lambda p: p.params(path=str(p.top)), 2, "holds data/raw"),
    "nothing set": (lambda p: p.params(), 3, "neither data.path nor data.urls is given"),
    "path without source": (lambda p: p.params(source="phantom", path="x"), 2, "no effect with source phantom"),
    "unknown key": (lambda p: p.params(paht="x"), 2, "data.paht: unknown key"),
    "infinite limit": (lambda p: p.params(path="x", max_unpacked_gb="inf"), 2, "data.max_unpacked_gb = 'inf'"),
    "no yaml": (lambda p: (p.top / "params.yaml").write_text("data: ["), 2, "not valid YAML"),
    "no text": (lambda p: (p.top / "params.yaml").write_bytes(b"\xff\xfe\x00"), 2, "is not UTF-8"),
    "in an output": (copied("data/raw", "data/raw"), 2, "is data/raw, and DVC deletes what lies there"),
    "above outputs": (copied("data/own", "data"), 2, "holds data/raw"),
    "link to an output": (copied("models/own", "mine"), 2, "lies in models"),
    "output by dots": (copied("report/own", "x/../report/own"), 2, "lies in report"),
    "links into an output": (links_inside, 2, f"holds the link {CT}, which leads into an output"),
    "truncated": (truncated, 3, "it ends early"),
    "no nifti": (lambda p: (p.cohort / CT).write_bytes(b"junk" * 200), 3, "is not a NIfTI file"),
    "no bytes": (lambda p: (p.cohort / CT).write_bytes(b""), 3, "is empty"),
    "dangling link": (instead(lambda f: f.symlink_to("annex/x")), 3, "a link that leads nowhere: annex/x"),
    "pipe": (instead(os.mkfifo), 3, "no regular file"),
    "folder for a file": (instead(Path.mkdir), 3, "label map without image"),
    "header promises too much": (lambda p: p.patch(CT, 42, np.full(3, 30000, "<i2").tobytes()), 3,
                                 "implausibly large: 30000 x 30000 x 30000"),
    "four-dimensional": (lambda p: p.image(CT, np.ones((5, 5, 5, 2), np.int16)), 3, "not 3-D: shape (5, 5, 5, 2)"),
    "complex voxels": (lambda p: p.image(CT, np.ones(SHAPE, np.complex64)), 3, "complex64, not plain numbers"),
    "not finite": (lambda p: p.image(CT, np.full(SHAPE, np.nan, np.float32)), 3, "336 voxels are NaN or infinite"),
    "constant": (lambda p: p.image(MR, np.zeros(SHAPE, np.int16)), 3, "constant image: every voxel is 0"),
    "one bright voxel": (lambda p: p.image(MR, np.eye(1, 336, 5, np.int16).reshape(SHAPE)), 3, "no contrast"),
    "black CT": (lambda p: p.image(CT, -900 - CODES), 3, "no contrast between -200 and 600 HU"),
    "spacing of nothing": (lambda p: p.patch(CT, 80, bytes(4)), 3, "degenerate spacing (pixdim): 0"),
    "affine of no number": (lambda p: p.patch(CT, 280, np.array([np.nan], "<f4").tobytes()), 3,
                            "affine holds NaN or infinite numbers"),
    "unknown code": (replaced(500, 7), 3, "unknown label codes 7\n"),
    "empty label map": (lambda p: p.image(CT_LABEL, 0 * CODES), 3, "empty label map"),
    "no label": (lambda p: (p.cohort / CT_LABEL).unlink(), 3, "training image without label map"),
    "the same scan twice": (lambda p: shutil.copy(p.cohort / CT, p.cohort / "ct_test_2001_image.nii.gz"), 3,
                            "the same voxels as the image of ct_1001"),
    "one modality": (lambda p: [f.unlink() for f in p.cohort.glob("mr_*")], 3, "3 labelled CT, 0 labelled MR"),
    "no archive": (lambda p: p.zipped({}).write_bytes(b"junk"), 3, "cannot be read as zip"),
    "archive of nothing": (lambda p: p.zipped({"readme.txt": b"x"}), 3, "no MM-WHS files in"),
    "member above": (lambda p: p.zipped({**p.all_in(), f"../{CT}": b"x"}), 3, "leaves the folder"),
    "member of full-width dots": (lambda p: p.zipped({f"\uff0e\uff0e/{CT}": b"x"}), 3, "leaves the folder"),
    "absolute member": (lambda p: p.zipped({f"C:\\x\\{CT}": b"x"}), 3, "leaves the folder"),
    "bomb": (bomb, 3, "times its size"),
    "bomb in an archive": (nested_bomb, 3, "times its size"),
    "archive of cases that is damaged": (lost_archive, 3, "cannot be read as zip"),
    "over the limit": (lambda p: p.params(path=str(p.zipped(p.all_in())), max_unpacked_gb=1e-6), 3,
                       "data.max_unpacked_gb = 1e-06 GB"),
    "table without columns": (lambda p: p.table("a,b\n1,2\n"), 3, "column patient, modality, image is missing"),
    "table of endless columns": (lambda p: p.table(HEADER.strip() + "," * 10**6 + "\n" + ROW), 3,
                                 "more than 1000 columns"),
    "table that is a pipe": (table_pipe, 3, "is no regular file"),
    "table that computes": (lambda p: p.table(HEADER + ROW.replace("A,", "=1+1,")), 3, "makes spreadsheets compute"),
    "table of other codes": (lambda p: p.table(HEADER + ROW, labels="index"), 3, "unknown label codes 205"),
}  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_bad_input_is_reported_and_nothing_is_lost(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    change, code, sentence = INPUTS[name]
    change(place)
    before = {file: file_digest(file) for file in place.cohort.parent.rglob("*") if file.is_file()}
    monkeypatch.setattr("sys.argv", ["crossmodalnet", "download"])
    with pytest.raises(SystemExit) as left:
        console.main()
    said = capfd.readouterr().err
    assert sentence in said
    assert left.value.code == code
    assert "Traceback" not in said
    after = {file: file_digest(file) for file in before if file.is_file()}
    assert after == before
    assert not (place.top / "data/raw/manifest.csv").exists()
    assert list(place.top.rglob("*.partial")) == []
