"""Which files are scans, told by name, and by the first bytes where DICOM files have any name."""

from pathlib import Path
from typing import Literal

Format = Literal["nifti", "nrrd", "metaimage", "dicom"]

SUFFIXES: dict[str, Format] = {
    ".nii": "nifti", ".nii.gz": "nifti", ".nrrd": "nrrd", ".nhdr": "nrrd", ".mha": "metaimage", ".mhd": "metaimage",
}  # fmt: skip
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# A DICOM file (Part 10) begins with 128 bytes of anything and these four.
_DICOM_START, _DICOM_MAGIC = 128, b"DICM"


def format_of(path: Path) -> Format | None:
    """Tell the format of a file by its suffix, in any case; a folder counts as a DICOM series; None for all else."""
    if path.is_dir():
        return "dicom"
    name = path.name.lower()
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


def is_dicom_file(path: Path) -> bool:
    """Tell by suffix or by its first bytes whether a regular file is DICOM; False where it cannot be read."""
    if not path.is_file():
        return False
    if path.name.lower().endswith(DICOM_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return file.read(_DICOM_START + 4)[_DICOM_START:] == _DICOM_MAGIC
    except OSError:
        return False
