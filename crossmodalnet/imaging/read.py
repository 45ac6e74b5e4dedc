"""Detect the format of a scan and read it."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from crossmodalnet.imaging.dicom import MAX_FILES, is_dicom_file, read_dicom_series
from crossmodalnet.imaging.untrusted import UntrustedImage, kept_locale, read_itk, read_untrusted

Format = Literal["nifti", "nrrd", "metaimage", "dicom"]

SUFFIXES: dict[str, Format] = {
    ".nii": "nifti", ".nii.gz": "nifti", ".nrrd": "nrrd", ".nhdr": "nrrd", ".mha": "metaimage", ".mhd": "metaimage",
}  # fmt: skip


def format_of(path: str | os.PathLike[str]) -> Format | None:
    """Return a file's format by suffix (any case), `dicom` for a folder, None for other formats."""
    path = Path(path)
    if path.is_dir():
        return "dicom"
    name = path.name.lower()
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


@kept_locale()
def read_scan(path: str | os.PathLike[str], series: Sequence[str] = (), modality: str = "") -> UntrustedImage:
    """Read NIfTI, NRRD, MetaImage, or the series that `series_files` selects in a folder; errors do not name either."""
    path = Path(path)
    kind = format_of(path)
    try:
        if not (path.is_file() or path.is_dir()):
            raise ValueError("cannot be read (no regular file, or not there)")
        if kind == "nifti":
            return read_untrusted(path)
        if kind == "dicom":
            _check_folder(path)
            return read_dicom_series(path, series, modality)
        if kind:
            return read_itk(path, kind)
    except OSError as error:
        raise ValueError(f"cannot be read ({error})") from error
    if is_dicom_file(path):
        raise ValueError("is one DICOM file: give the folder of its series")
    raise ValueError(f"is none of {', '.join(SUFFIXES)} or a folder of DICOM")


def _check_folder(folder: Path) -> None:
    """Name the images in a folder without DICOM."""
    files = sorted(file for file in islice(folder.iterdir(), MAX_FILES) if file.is_file())
    if files and all(format_of(file) for file in files):
        raise ValueError(f"holds no DICOM series, but other images: give one of them, such as {files[0].name}")
