"""Scans in a zip archive, unpacked for as long as they are needed: DICOM is handed over like that."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from crossmodalnet.imaging.read import DICOM_SUFFIXES
from crossmodalnet.processes import scratch_folder
from pipeline.cohort.archive import Budget, extract
from pipeline.prediction.origin import PatientScans
from pipeline.runtime.errors import DataError

# A study of a thousand slices of 512 x 512 has half a gigabyte.
MAX_UNPACKED_BYTES = 8 * 10**9


@contextmanager
def unzipped(scans: PatientScans) -> Iterator[PatientScans]:
    """Give the scans with folders in place of zip archives.

    An archive's files are taken as one folder of DICOM, whatever folders it has.

    Raises:
        DataError: an archive is damaged, unsafe, too large, or holds no file that could be DICOM.
        ResourceError: the disk has not enough room.
    """
    with ExitStack() as stack:
        yield replace(
            scans,
            ct=None if scans.ct is None else _folder(scans.ct, stack),
            mr=None if scans.mr is None else _folder(scans.mr, stack),
        )


def _folder(path: Path, stack: ExitStack) -> Path:
    if path.suffix.lower() != ".zip" or not path.is_file():
        return path
    folder = stack.enter_context(scratch_folder())
    if not extract(path, folder, _could_be_dicom, Budget(MAX_UNPACKED_BYTES)):
        raise DataError(f"{path} holds no file that could be DICOM: give NIfTI and other formats unpacked")
    return folder


def _could_be_dicom(name: str) -> bool:
    """Files of DICOM end in .dcm and the like, or in nothing, or in a part of a UID; hidden ones are the archiver's."""
    last = name.rsplit("/", 1)[-1].lower()
    if last.startswith(".") or last == "dicomdir" or name.startswith("__MACOSX"):
        return False
    suffix = last.rpartition(".")[2] if "." in last else ""
    return not suffix or suffix.isdigit() or last.endswith(DICOM_SUFFIXES)
