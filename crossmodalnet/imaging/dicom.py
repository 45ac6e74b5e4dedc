"""A DICOM series in a folder, read as one volume, or refused: a slice that lacks would bend the heart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from crossmodalnet.imaging.untrusted import (
    MAX_VOXELS,
    MODALITY_TAG,
    UntrustedImage,
    from_itk,
    header_reader,
    kept_locale,
    last_line,
    read_itk,
    tag_of,
)

MAX_FILES = 10_000
MAX_SERIES = 50
# Positions are written with a few decimals; a slice that lacks doubles a gap.
GAP_TOLERANCE = 0.05


def read_dicom_series(
    folder: Path, max_voxels: int = MAX_VOXELS, series: Sequence[str] = (), modality: str = ""
) -> UntrustedImage:
    """Read a series of a folder, slices sorted by position; values are rescaled (CT: HU).

    Args:
        folder: folder of the files; folders in it are not searched.
        max_voxels: most voxels that are believed.
        series: names, one of which tells the series where there are several: its description or a part of it, its
            number or its UID.
        modality: `CT` or `MR`: where there are several series and some say that they are of it, one of these is meant.

    Raises:
        ValueError: no series, several (lists them), a link that leads out of the folder, slices of different sizes, of
            unequal distances, at one place or of a tilted gantry, damaged, or implausibly large; the message does not
            name the folder.
    """
    files = series_files(folder, series, modality)
    if len(files) == 1:
        return read_itk(files[0], "dicom", max_voxels)
    _check_slices(files, max_voxels)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(file) for file in files])
    try:
        found = from_itk(reader.Execute())
    except RuntimeError as error:
        raise ValueError(f"cannot be read to its end ({last_line(error)})") from error
    return replace(found, modality=tag_of(header_reader(files[0], "dicom"), MODALITY_TAG))


@dataclass(frozen=True)
class _Series:
    """What tells a series from the others of a folder, as its first file has it."""

    uid: str
    number: str
    modality: str
    description: str
    num_files: int

    def __str__(self) -> str:
        title = self.description or "without a description"
        return f"{title} ({self.modality or 'modality unknown'}, number {self.number or '?'}, {self.num_files} files)"


@kept_locale()
def series_files(folder: Path, series: Sequence[str] = (), modality: str = "") -> list[Path]:
    """Give the files of the series that `read_dicom_series` reads, in the order of their positions.

    Args:
        folder: folder of the files; folders in it are not searched.
        series: names, one of which tells the series where there are several.
        modality: `CT`, `MR`, or empty for any.

    Raises:
        ValueError: no series, several of which none or more than one is meant, or a link that leads out of the folder.
    """
    entries = list(islice(folder.iterdir(), MAX_FILES + 1))
    if len(entries) > MAX_FILES:
        raise ValueError(f"holds more than {MAX_FILES} files, no series does")
    # GDCM opens whatever is there, and would wait for ever for the other end of a pipe.
    if odd := [entry.name for entry in entries if not (entry.is_file() or entry.is_dir())]:
        raise ValueError(f"holds {odd[0]}, which is no regular file")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        if not uids:
            raise ValueError("holds no DICOM series (folders in it are not searched)")
        files = {uid: _of_series(folder, uid) for uid in uids[:MAX_SERIES]}
    except RuntimeError as error:
        raise ValueError(f"cannot be read as DICOM ({last_line(error)})") from error
    if len(uids) == 1:
        return files[uids[0]]
    found = [_described(uid, files[uid]) for uid in uids[:MAX_SERIES]]
    chosen = _chosen([one for one in found if modality and one.modality == modality] or found, series)
    if len(chosen) != 1:
        which = "none of them is" if series and not chosen else "one must be"
        raise ValueError(
            f"holds {len(uids)} DICOM series, {which} named by description, number or UID: "
            + "; ".join(map(str, found))
        )
    return files[chosen[0].uid]


def _of_series(folder: Path, uid: str) -> list[Path]:
    files = [Path(name) for name in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)]
    home = folder.resolve()
    if away := [file.name for file in files if home not in file.resolve().parents]:
        raise ValueError(f"{away[0]} is a link that leaves the folder")
    return files


def _described(uid: str, files: Sequence[Path]) -> _Series:
    header = header_reader(files[0], "dicom")
    number, modality, description = (tag_of(header, tag) for tag in ("0020|0011", MODALITY_TAG, "0008|103e"))
    return _Series(uid, number, modality, description, len(files))


def _chosen(found: Sequence[_Series], names: Sequence[str]) -> list[_Series]:
    """Those that are named, by a part of the description only where no name fits as a whole; all without names."""
    if not names:
        return list(found)
    wanted = {name.strip().casefold() for name in names if name.strip()}
    whole = [
        series
        for series in found
        if wanted & {series.uid, series.number, series.description.casefold()} - {""}
    ]
    return whole or [
        series for series in found if any(name in series.description.casefold() for name in wanted)
    ]


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
    steps = np.diff([header.GetOrigin() for header in headers], axis=0)
    drift = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1)
    if gaps.min() < 1e-3:
        raise ValueError("several slices at one place (time frames, echoes?): give one volume")
    if drift.max() > GAP_TOLERANCE * np.median(gaps):
        raise ValueError(
            f"slices are shifted by {drift.max():.2f} mm from one to the next: a tilted gantry, whose voxels lie on no "
            "right-angled grid; have it corrected where the scan was made, or resample it"
        )
    if gaps.max() - gaps.min() > GAP_TOLERANCE * np.median(gaps):
        raise ValueError(
            f"slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart: a slice lacks, or spacing varies"
        )
