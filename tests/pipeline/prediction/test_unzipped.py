import zipfile
from pathlib import Path

import pytest

from pipeline.prediction.origin import PatientScans
from pipeline.prediction.unzipped import unzipped
from pipeline.runtime.errors import DataError


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name in names:
            opened.writestr(name, name)
    return path


def test_files_that_could_be_dicom_are_there_as_long_as_needed(tmp_path: Path) -> None:
    names = (
        "s/a/1.dcm",
        "s/b/IM0001",
        "s/1.2.840.77",
        "s/README.txt",
        "DICOMDIR",
        "__MACOSX/s/._1.dcm",
        "s/.hidden",
    )
    packed = archive(tmp_path / "s.zip", *names)
    other = tmp_path / "mr.nii.gz"
    with unzipped(PatientScans("p", packed, other, ("late",))) as scans:
        assert scans.ct is not None
        assert sorted(file.read_text("utf-8") for file in scans.ct.iterdir()) == sorted(names[:3])
        assert (scans.mr, scans.series) == (other, ("late",))
    assert not scans.ct.exists()


def test_archives_that_are_none_or_leave_their_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("text", "utf-8")
    packed = [
        archive(tmp_path / "n.zip", "ct.nii.gz"), archive(tmp_path / "l.zip", "../1.dcm"), tmp_path / "text.zip",
    ]  # fmt: skip
    for path, says in zip(
        packed, ("holds no file that could be DICOM", "leaves the folder", "text.zip"), strict=True
    ):
        with pytest.raises(DataError, match=says), unzipped(PatientScans("p", path, None)):
            pass
