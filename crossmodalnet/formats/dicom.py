"""A folder with one DICOM series, read as one volume, or refused: a slice that lacks would bend the heart."""

from itertools import islice
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from crossmodalnet.formats.itk_image import from_itk, header_reader, last_line, read_itk
from crossmodalnet.imaging.untrusted import MAX_VOXELS, UntrustedImage

MAX_FILES = 10_000
# Positions are written with a few decimals; a slice that lacks doubles a gap.
GAP_TOLERANCE = 0.05


def read_dicom_series(folder: Path, max_voxels: int = MAX_VOXELS) -> UntrustedImage:
    """Read the only series of a folder, slices sorted by position; values are rescaled (CT: HU).

    Raises:
        ValueError: no series, several, a link that leads out of the folder, slices of different sizes, of unequal
            distances or at one place, damaged, or implausibly large; the message does not name the folder.
    """
    files = _files(folder)
    if len(files) == 1:
        return read_itk(files[0], "dicom", max_voxels)
    _check_slices(files, max_voxels)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(file) for file in files])
    try:
        return from_itk(reader.Execute())
    except RuntimeError as error:
        raise ValueError(f"cannot be read to its end ({last_line(error)})") from error


def _files(folder: Path) -> list[Path]:
    """Give the files of the only series, in the order of their positions."""
    entries = list(islice(folder.iterdir(), MAX_FILES + 1))
    if len(entries) > MAX_FILES:
        raise ValueError(f"holds more than {MAX_FILES} files, no series does")
    # GDCM opens whatever is there, and would wait for ever for the other end of a pipe.
    if odd := [entry.name for entry in entries if not (entry.is_file() or entry.is_dir())]:
        raise ValueError(f"holds {odd[0]}, which is no regular file")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0]) if series else ()
    except RuntimeError as error:
        raise ValueError(f"cannot be read as DICOM ({last_line(error)})") from error
    if len(series) != 1:
        raise ValueError(
            "holds no DICOM series" if not series else
            f"holds {len(series)} DICOM series: give each a folder of its own"
        )  # fmt: skip
    files = [Path(name) for name in names]
    home = folder.resolve()
    if away := [file.name for file in files if home not in file.resolve().parents]:
        raise ValueError(f"{away[0]} is a link that leaves the folder")
    return files


def _check_slices(files: list[Path], max_voxels: int) -> None:
    headers = [header_reader(file, "dicom") for file in files]
    sizes = {header.GetSize() for header in headers}
    if len(sizes) > 1:
        raise ValueError(f"slices have different sizes: {', '.join(map(str, sorted(sizes)))}")
    size = sizes.pop()
    if int(np.prod(size, dtype=object)) * len(files) > max_voxels:
        shape = " x ".join(map(str, (*size[:2], len(files))))
        raise ValueError(f"implausibly large: {shape} voxels, at most {max_voxels} are read")
    directions = np.array([header.GetDirection() for header in headers])
    if np.abs(directions - directions[0]).max() > 1e-3:
        raise ValueError("slices have different orientations: give each orientation a folder of its own")
    normal = directions[0].reshape(3, 3)[:, 2]
    places = np.array([np.dot(header.GetOrigin(), normal) for header in headers])
    gaps = np.abs(np.diff(places))
    if gaps.min() < 1e-3:
        raise ValueError("several slices at one place (time frames, echoes?): give one volume")
    if gaps.max() - gaps.min() > GAP_TOLERANCE * np.median(gaps):
        raise ValueError(
            f"slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart: a slice lacks, or spacing varies"
        )
