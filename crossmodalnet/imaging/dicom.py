"""Read a DICOM series as one volume; reject missing or displaced slices."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from crossmodalnet.imaging.untrusted import (
    MODALITY_TAG,
    UntrustedImage,
    check_num_voxels,
    execute,
    from_itk,
    header_reader,
    kept_locale,
    last_line,
    read_itk,
    tag_of,
)

MAX_FILES = 10_000
MAX_SERIES = 50
# Share of the slice distance; positions have few decimals, and a missing slice doubles a gap.
GAP_TOLERANCE = 0.05
NUMBER_TAG, DESCRIPTION_TAG = "0020|0011", "0008|103e"


def read_dicom_series(folder: Path, series: Sequence[str] = (), modality: str = "") -> UntrustedImage:
    """Read the series that `series_files` selects, sorted by position, values rescaled (CT: HU).

    Raises:
        ValueError: as `series_files`; slices of unequal size or distance, or at one position; gantry tilt; damage; too
            many voxels. Does not name the folder.
    """
    files = series_files(folder, series, modality)
    if len(files) == 1:
        return read_itk(files[0], "dicom")
    _check_slices(files)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(file) for file in files])
    return replace(from_itk(execute(reader)), modality=tag_of(header_reader(files[0], "dicom"), MODALITY_TAG))


@kept_locale()
def series_files(folder: Path, series: Sequence[str] = (), modality: str = "") -> list[Path]:
    """List the files of a folder's series, sorted by position; subfolders are not searched.

    Args:
        series: descriptions or parts of them, numbers or UIDs, one of which selects among several series.
        modality: `CT` or `MR`, selects among several series if any has it; empty for any.

    Raises:
        ValueError: no series, an ambiguous selection, or a link out of the folder.
    """
    entries = list(islice(folder.iterdir(), MAX_FILES + 1))
    if len(entries) > MAX_FILES:
        raise ValueError(f"holds more than {MAX_FILES} files, no series does")
    # GDCM opens every file, and would block on a pipe.
    if odd := [entry.name for entry in entries if not (entry.is_file() or entry.is_dir())]:
        raise ValueError(f"holds {odd[0]}, which is no regular file")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        if not uids:
            raise ValueError("holds no DICOM series (folders in it are not searched)")
        files = {uid: _files_of(folder, uid) for uid in uids[:MAX_SERIES]}
    except RuntimeError as error:
        raise ValueError(f"cannot be read as DICOM ({last_line(error)})") from error
    if len(uids) == 1:
        return files[uids[0]]
    tags = {uid: _series_tags(paths[0]) for uid, paths in files.items()}
    of_modality = {uid: tag for uid, tag in tags.items() if modality and tag[1] == modality}
    chosen = _chosen(of_modality or tags, series)
    if len(chosen) != 1:
        which = "none of them is" if series and not chosen else "one must be"
        listed = "; ".join(_described(*tags[uid], len(paths)) for uid, paths in files.items())
        raise ValueError(
            f"holds {len(uids)} DICOM series, {which} named by description, number or UID: {listed}"
        )
    return files[chosen[0]]


def _files_of(folder: Path, uid: str) -> list[Path]:
    files = [Path(name) for name in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)]
    home = folder.resolve()
    if away := [file.name for file in files if home not in file.resolve().parents]:
        raise ValueError(f"{away[0]} is a link that leaves the folder")
    return files


def _series_tags(file: Path) -> tuple[str, str, str]:
    """Read number, modality and description of a series from its first file."""
    header = header_reader(file, "dicom")
    return tag_of(header, NUMBER_TAG), tag_of(header, MODALITY_TAG), tag_of(header, DESCRIPTION_TAG)


def _described(number: str, modality: str, description: str, num_files: int) -> str:
    title = description or "without a description"
    return f"{title} ({modality or 'modality unknown'}, number {number or '?'}, {num_files} files)"


def _chosen(tags: Mapping[str, tuple[str, str, str]], names: Sequence[str]) -> list[str]:
    """Return the UIDs of the named series; partial descriptions count only without an exact match."""
    if not names:
        return list(tags)
    wanted = {name.strip().casefold() for name in names if name.strip()}
    descriptions = {uid: description.casefold() for uid, (_, _, description) in tags.items()}
    whole = [uid for uid, text in descriptions.items() if wanted & {uid, tags[uid][0], text} - {""}]
    return whole or [uid for uid, text in descriptions.items() if any(name in text for name in wanted)]


def _check_slices(files: list[Path]) -> None:
    headers = [header_reader(file, "dicom") for file in files]
    sizes = {header.GetSize() for header in headers}
    if len(sizes) > 1:
        raise ValueError(f"slices have different sizes: {', '.join(map(str, sorted(sizes)))}")
    width, height, *frames = sizes.pop()
    check_num_voxels((width, height, math.prod(frames) * len(files)))
    directions = np.array([header.GetDirection() for header in headers])
    if np.abs(directions - directions[0]).max() > 1e-3:
        raise ValueError("slices have different orientations: give each orientation a folder of its own")
    normal = directions[0].reshape(3, 3)[:, 2]
    steps = np.diff([header.GetOrigin() for header in headers], axis=0)
    gaps = np.abs(steps @ normal)
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
            f"slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart: a slice is missing, or spacing varies"
        )
