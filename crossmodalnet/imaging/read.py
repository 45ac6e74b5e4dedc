"""A scan of any format that is known, read to its end within limits."""

from collections.abc import Sequence
from pathlib import Path

from crossmodalnet.imaging.dicom import read_dicom_series
from crossmodalnet.imaging.itk_image import read_itk
from crossmodalnet.imaging.kept_locale import kept_locale
from crossmodalnet.imaging.kinds import SUFFIXES, format_of
from crossmodalnet.imaging.untrusted import MAX_VOXELS, UntrustedImage, read_untrusted


@kept_locale()
def read_scan(
    path: Path, max_voxels: int = MAX_VOXELS, series: Sequence[str] = (), modality: str = ""
) -> UntrustedImage:
    """Read NIfTI, NRRD, MetaImage, or a folder with one DICOM series.

    Args:
        path: file, or folder.
        max_voxels: most voxels that are believed.
        series: names, one of which tells the series of a folder that has several; see `read_dicom_series`.
        modality: `CT` or `MR`, which tells likewise.

    Raises:
        ValueError: of no such format, damaged, truncated, or implausibly large; the message does not name the file.
    """
    kind = format_of(path)
    try:
        if not (path.is_file() or path.is_dir()):
            raise ValueError("cannot be read (no regular file, or not there)")
        if kind == "nifti":
            return read_untrusted(path, max_voxels)
        if kind == "dicom":
            return read_dicom_series(path, max_voxels, series, modality)
        if kind:
            return read_itk(path, kind, max_voxels)
    except OSError as error:
        raise ValueError(f"cannot be read ({error})") from error
    raise ValueError(f"is none of {', '.join(SUFFIXES)} or a folder of DICOM")
