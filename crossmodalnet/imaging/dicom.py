"""Read a DICOM series as one volume; geometry and rescale follow the tags of every slice or frame."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.untrusted import UntrustedImage, cause, check_num_voxels, is_stored, read_itk
from crossmodalnet.imaging.volume import RAS_TO_LPS

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# DICOM Part 10: 128 arbitrary bytes, then the magic.
_DICOM_START, _DICOM_MAGIC = 128, b"DICM"
MAX_FILES = 10_000
# Series, or parts of a series, that a message lists.
MOST_LISTED = 60
# Share of the slice distance; positions have few decimals, and a missing slice doubles a gap.
GAP_TOLERANCE = 0.05
SAME_PLACE_MM = SAME_DIRECTION = SAME_SPACING = 1e-3
# Of the cosines of ImageOrientationPatient, which may have two decimals.
MAX_SKEW = 0.02
# Mean square difference of neighbouring slices over that of every second one: 1 in noise, less in a volume.
MAX_ALTERNATION = 1.1
# Classes of objects with pixels: CT and MR, classic and enhanced.
IMAGES = ("1.2.840.10008.5.1.4.1.1.2.", "1.2.840.10008.5.1.4.1.1.4.")
# Tags that may name a part of the body, the most reliable first.
REGIONS = ("BodyPartExamined", "ProtocolName", "SeriesDescription")
CHEST = re.compile("chest|heart|card|thora|coron|aort|lung|pulm|trunk|body", re.IGNORECASE)
NO_CHEST = re.compile(
    r"(?<![a-z])(?:brain|skull|neuro|cerebr|crani|orbit|abdom|pelvi|liver|kidney|prostat|uter|shoulder|extremit|femur|"
    r"[ctls]?[- ]?spine|(?:(?:head|neck|face|jaw|eye|ear|hip|knee|leg|foot|ankle|arm|elbow|wrist|hand)s?)+(?![a-z]))",
    re.IGNORECASE,
)
# Values of Modality that are read, and what common others are.
SCANS = {"CT", "MR", "OT"}
SCANLESS = {
    "CR": "a radiograph", "DX": "a radiograph", "MG": "a mammogram", "XA": "an angiogram", "US": "an ultrasound",
    "PT": "a PET", "NM": "a scintigram", "RTDOSE": "a radiation dose", "RTSTRUCT": "a set of contours",
    "SEG": "a segmentation", "SC": "a screenshot",
}  # fmt: skip
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# Tags that tell apart the volumes of one series, in classic and in enhanced files.
PARTS = {
    "acquisition": ("AcquisitionNumber", "FrameAcquisitionNumber"),
    "temporal position": ("TemporalPositionIdentifier", "TemporalPositionIndex"),
    "cardiac phase": ("NominalPercentageOfCardiacPhase",),
    "trigger time": ("TriggerTime", "NominalCardiacTriggerDelayTime"),
    "echo": ("EchoNumbers",),
    "echo time": ("EchoTime", "EffectiveEchoTime"),
    "inversion time": ("InversionTime", "InversionTimes"),
    "b-value": ("DiffusionBValue",),
    "image type": ("ImageType", "FrameType"),
    "component": ("ComplexImageComponent",),
    "stack": ("StackID",),
    "kVp": ("KVP",),
    "kernel": ("ConvolutionKernel",),
    "frame of reference": ("FrameOfReferenceUID",),
}
TAGS = (
    "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "Rows", "Columns", "NumberOfFrames",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept",
    "RescaleType", "PhotometricInterpretation", "BitsStored", "HighBit", "ModalityLUTSequence",
    "Manufacturer", "BodyPartExamined", "ProtocolName",
    "PatientID", "PatientBirthDate", "PatientSex", *(name for names in PARTS.values() for name in names),
)  # fmt: skip
# These may differ from slab to slab of one volume.
SLABS = ("acquisition", "trigger time", "stack")
Tags = Mapping[str, str]


@dataclass(frozen=True)
class Frame:
    """One slice: a file of a classic series, or a frame of an enhanced multi-frame file.

    Attributes:
        index: place in the file.
        tags: text of `TAGS`, several values separated by a backslash; functional groups come before the file's tags.
        rescaled: slope and intercept that GDCM applies: to all frames the shared ones, or those of the first.
    """

    file: Path
    index: int
    tags: Tags
    rescaled: tuple[float, float]

    def numbers(self, name: str, count: int) -> NDArray[np.float64]:
        """Return the numbers of a tag; ValueError unless there are `count`."""
        try:
            found = np.array(self.tags.get(name, "").split("\\"), np.float64)
        except ValueError:
            found = np.empty(0)
        if found.shape != (count,) or not np.isfinite(found).all():
            raise ValueError(
                f"{self.file.name} has no valid {name}, and none is assumed: export the original series again "
                "(a secondary capture has no geometry)"
            )
        return found

    def part(self, label: str) -> str:
        """Return the value of a label of `PARTS`, `?` if unknown."""
        return next((text for name in PARTS[label] if (text := self.tags.get(name))), "?")


def read_dicom_series(folder: str | os.PathLike[str], series: Sequence[str] = (), modality: str = "") -> UntrustedImage:
    """Read the series that `series_files` selects, sorted by position, rescaled (CT: HU); errors as there."""
    frames, affine = _series(Path(folder), series, modality)
    stacks = {file: _voxels(frame) for file, frame in {frame.file: frame for frame in frames}.items()}
    planes = [_rescaled(frame, stacks[frame.file].T[frame.index]) for frame in frames]
    data = np.stack(planes).T
    if data.dtype.itemsize == 8:  # slices of several types
        data = data.astype(np.float64)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    notes = (*_notes(frames), *_alternation(data))
    return UntrustedImage(nib.Nifti1Image(data, affine), spacing_mm, notes, tags=frames[0].tags)


def series_files(folder: str | os.PathLike[str], series: Sequence[str] = (), modality: str = "") -> list[Path]:
    """List the files of a folder's series, sorted by position; subfolders are not searched.

    Args:
        series: descriptions or parts of them, numbers or UIDs, one of which selects among several series; in a series
            that mixes volumes, also a label of `PARTS` and its value, such as `acquisition 2`.
        modality: `CT` or `MR`, selects among several series if any has it; empty for any.

    ValueError for no series, an ambiguous selection, or what docs/checks.md lists of DICOM.
    """
    return list(dict.fromkeys(frame.file for frame in _series(Path(folder), series, modality)[0]))


def _series(folder: Path, series: Sequence[str], modality: str) -> tuple[list[Frame], NDArray[np.float64]]:
    """Return the frames of the chosen series, sorted and checked, and their affine."""
    found: dict[str, list[tuple[Path, Any]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break the standard's rules
        for file, header in _headers(folder):
            found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((file, header))
        if not found:
            raise ValueError("holds no DICOM series with images (folders in it are not searched)")
        tags = {uid: _tags(files[0][1]) for uid, files in found.items()}
        of_modality = {uid: own for uid, own in tags.items() if modality and own.get("Modality") == modality}
        chosen = _chosen(of_modality or tags, series) if len(tags) > 1 else list(tags)
        if len(chosen) != 1:
            which = "none of them is" if series and not chosen else "one must be"
            named = f"{which} named by --series, by its description, number or UID"
            listed = _described({uid: (tags[uid], len(found[uid])) for uid in chosen or tags})
            raise ValueError(f"holds {len(tags)} DICOM series, {named}: {listed}")
        if (kind := tags[chosen[0]].get("Modality", "CT")) not in SCANS:
            raise ValueError(f"is {SCANLESS.get(kind, 'no scan')} (Modality {kind}): give the series of the CT or MR")
        frames = [frame for file, header in found[chosen[0]] for frame in _frames(file, header)]
    wanted = {name.strip().casefold() for name in series}
    labels = set()
    for label in PARTS:
        if some := [frame for frame in frames if f"{label} {frame.part(label)}".casefold() in wanted]:
            frames = some
            labels.add(label)
    return _placed(frames, labels)


def _headers(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the images of a folder and their tags; other files are skipped."""
    import pydicom

    entries = sorted(islice(folder.iterdir(), MAX_FILES + 1))
    if len(entries) > MAX_FILES:
        raise ValueError(f"holds more than {MAX_FILES} files, no series does")
    # Reading a pipe would block.
    if odd := [entry.name for entry in entries if not (entry.is_file() or entry.is_dir())]:
        raise ValueError(f"holds {odd[0]}, which is no regular file")
    for file in (entry for entry in entries if entry.is_file()):
        try:
            # Old files lack the preamble, hence `force`.
            tags = [*TAGS, "SOPClassUID", SHARED, PER_FRAME]
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
            is_image = "Rows" in header and "Columns" in header
            kind = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", ""))
            damage = " (it ends early)" if not kind or f"{kind}.".startswith(IMAGES) else ""
        except Exception as error:  # pydicom raises a dozen kinds for a damaged header
            is_image, damage = False, cause(error) or " "
        if damage and not is_image and is_dicom_file(file):
            raise ValueError(f"{file.name} is damaged{damage.rstrip()}: copy or export it again")
        if is_image:
            if folder.resolve() not in file.resolve().parents and not is_stored(file.resolve()):
                raise ValueError(f"{file.name} is a link that leaves the folder")
            yield file, header


def is_dicom_file(path: Path) -> bool:
    """Detect a DICOM file by suffix or first bytes; False if it cannot be read."""
    if not path.is_file():
        return False
    if path.name.lower().endswith(DICOM_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return file.read(_DICOM_START + 4)[_DICOM_START:] == _DICOM_MAGIC
    except OSError:
        return False


def _tags(dataset: Any) -> dict[str, str]:
    """Return the text of the `TAGS` that a dataset has."""
    found = {}
    for name in TAGS:
        if name in dataset and (value := dataset[name].value) not in (None, ""):
            several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
            found[name] = "\\".join(map(str, value)) if several else str(value).strip()
    return found


def _frames(file: Path, header: Any) -> list[Frame]:
    """Return the frames of a file; those of an enhanced file have tags in functional groups."""
    try:
        top = _tags(header)
        count = int(top.get("NumberOfFrames") or 1)
        shared = [_group(item) for item in header.get(SHARED) or ()]
        groups = [_group(item) for item in header.get(PER_FRAME) or ()] or [{}] * count
        if len(groups) != count:
            raise ValueError(f"{len(groups)} frames described, {count} stored")
        common = {**top, **(shared[0] if shared else {})}
        first = {**top, **groups[0], **(shared[0] if shared else {})}
        return [Frame(file, k, {**common, **own}, _rescale(first)) for k, own in enumerate(groups)]
    except Exception as error:
        raise ValueError(f"{file.name} has a damaged header{cause(error)}: export it again") from error


def _group(item: Any) -> dict[str, str]:
    """Return the tags of one functional group; private sequences repeat standard tags with other values."""
    found = {}
    for element in item:
        if element.VR == "SQ" and not element.tag.is_private and element.value:
            found.update(_tags(element.value[0]))
            for region in element.value[0].get("AnatomicRegionSequence") or ():
                found["BodyPartExamined"] = str(region.get("CodeMeaning", ""))
    return found


def _rescale(tags: Tags) -> tuple[float, float]:
    return float(tags.get("RescaleSlope", 1)), float(tags.get("RescaleIntercept", 0))


def _described(series: Mapping[str, tuple[Tags, int]]) -> str:
    """List series by their tags and number of files, and those that look alike by their UIDs too."""
    titles = {}
    for uid, (tags, _) in series.items():
        about = f"{tags.get('Modality', 'modality unknown')}, number {tags.get('SeriesNumber', '?')}"
        titles[uid] = f"{tags.get('SeriesDescription', 'without a description')} ({about}"
    alike = Counter(titles.values())
    uids = {uid: f", UID {uid}" if alike[title] > 1 else "" for uid, title in titles.items()}
    return _listed([f"{titles[uid]}, {num} file{'s'[: num > 1]}{uids[uid]})" for uid, (_, num) in series.items()])


def _listed(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - MOST_LISTED} more" if len(texts) > MOST_LISTED else ""
    return "; ".join(texts[:MOST_LISTED]) + more


def _chosen(tags: Mapping[str, Tags], names: Sequence[str]) -> list[str]:
    """Return the UIDs of the named series; partial descriptions count only without an exact match."""
    if not names:
        return list(tags)
    wanted = {name.strip().casefold() for name in names if name.strip()}
    texts = {uid: own.get("SeriesDescription", "").casefold() for uid, own in tags.items()}
    whole = [u for u, text in texts.items() if wanted & {u, tags[u].get("SeriesNumber", ""), text} - {""}]
    return whole or [uid for uid, text in texts.items() if any(name in text for name in wanted)]


def _placed(frames: list[Frame], selected: Container[str]) -> tuple[list[Frame], NDArray[np.float64]]:
    """Sort frames by position, check that they are one right-angled volume, and return its affine (RAS).

    Args:
        selected: labels of `PARTS` of which the user chose values, which may alternate.
    """
    for frame in frames:
        _check_values(frame)
    if len(sizes := {(int(f.tags["Columns"]), int(f.tags["Rows"])) for f in frames}) > 1:
        listed = ", ".join(f"{x} x {y}" for x, y in sorted(sizes))
        raise ValueError(f"slices have different sizes: {listed} (a localizer among them?)")
    check_num_voxels((*sizes.pop(), len(frames)))
    axes = np.array([frame.numbers("ImageOrientationPatient", 6) for frame in frames]).reshape(-1, 2, 3)
    if np.abs(axes - axes[0]).max() > SAME_DIRECTION:
        raise ValueError("slices have different orientations: give each orientation a folder of its own")
    if np.abs(axes[0] @ axes[0].T - np.eye(2)).max() > MAX_SKEW:
        raise ValueError(f"ImageOrientationPatient of {frames[0].file.name} is no pair of perpendicular unit vectors")
    spacings = np.array([frame.numbers("PixelSpacing", 2) for frame in frames])
    if spacings.min() <= 0 or np.ptp(spacings, axis=0).max() > SAME_SPACING * spacings.min():
        raise ValueError(
            f"slices have different or impossible spacings: PixelSpacing {spacings.min():g} to {spacings.max():g} mm"
        )
    places = np.array([frame.numbers("ImagePositionPatient", 3) for frame in frames])
    x = axes[0, 0] / np.linalg.norm(axes[0, 0])
    normal = np.cross(x, axes[0, 1]) / np.linalg.norm(np.cross(x, axes[0, 1]))
    order = np.argsort(places @ normal, kind="stable")
    frames, places = [frames[k] for k in order], places[order]
    steps = np.diff(places, axis=0)
    gaps = steps @ normal
    _check_one_volume(frames, gaps, selected)
    if len(gaps):
        drift = np.linalg.norm(steps - np.outer(gaps, normal), axis=1).max()
        if drift > GAP_TOLERANCE * np.median(gaps):
            raise ValueError(
                f"slices are shifted by {drift:.2f} mm from one to the next: a tilted gantry, whose voxels lie on no "
                "right-angled grid; have it corrected where the scan was made, or resample it"
            )
        if gaps.max() - gaps.min() > GAP_TOLERANCE * np.median(gaps):
            after = frames[int(gaps.argmax())].file.name
            raise ValueError(
                f"slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart: a slice is missing (after {after}), "
                "or spacing varies: export or download the whole series again"
            )
    affine = np.eye(4)
    spacing_mm = spacings[0, 1], spacings[0, 0], gaps.mean() if len(gaps) else 1.0
    affine[:3, :3] = np.stack([x, np.cross(normal, x), normal], axis=1) * spacing_mm
    affine[:3, 3] = places[0]
    return frames, RAS_TO_LPS @ affine


def _check_one_volume(frames: Sequence[Frame], gaps: NDArray[np.float64], selected: Container[str]) -> None:
    """Reject frames, sorted by position, that share positions or in which acquisitions, echoes or phases alternate."""
    places = np.concatenate([[0], np.cumsum(gaps > SAME_PLACE_MM)])
    num_places = int(places[-1]) + 1
    values = {label: [frame.part(label) for frame in frames] for label in PARTS}
    if is_doubled := num_places < len(frames):
        labels = [x for x, own in values.items() if len({*zip(own, places, strict=True)}) > num_places]
        whole = [label for label in labels if {*Counter(values[label]).values()} == {num_places}]
        labels = whole[:1] or labels
    else:
        labels = [label for label, own in values.items() if label not in selected and _alternates(own)][:1]
    if labels:
        parts = [f"{x} {own} ({num} slices)" for x in labels for own, num in Counter(values[x]).items()]
        raise ValueError(
            "mixes several volumes in one series: export each as a series of its own, or name a part (--series): "
            + _listed(parts)
        )
    if is_doubled:
        raise ValueError(
            f"several slices at one place (slices or frames: {len(frames)}, places: {num_places}), and no acquisition, "
            "echo or phase tells them apart (doubled files, time frames?): give one volume"
        )


def _alternates(values: Sequence[str]) -> bool:
    """Detect values that take turns; values that merely change from slab to slab or slice to slice do not."""
    period = len(set(values))
    runs = 1 + sum(a != b for a, b in pairwise(values))
    returns = [a == b for a, b in zip(values, values[period:], strict=False)]
    return runs > period and sum(returns) > len(returns) / 2


def _check_values(frame: Frame) -> None:
    """Reject a frame whose stored values GDCM would change otherwise than by a slope and an intercept."""
    tags = frame.tags
    shown = tags.get("PhotometricInterpretation", "MONOCHROME2")
    if not shown.startswith("MONOCHROME"):
        raise ValueError(
            f"{frame.file.name} is a colour picture (PhotometricInterpretation {shown}), no slice of a scan"
        )
    if "MOSAIC" in tags.get("ImageType", ""):
        raise ValueError(f"{frame.file.name} is a mosaic, a picture of all slices of a volume: convert it by dcm2niix")
    if shown != "MONOCHROME2":
        problem = f"has inverted grey values (PhotometricInterpretation {shown})"
    elif "ModalityLUTSequence" in tags:
        problem = "has a look-up table instead of RescaleSlope and RescaleIntercept"
    elif int(tags.get("HighBit", 15)) != int(tags.get("BitsStored", 16)) - 1:
        problem = f"stores its values in unusual bits (HighBit {tags.get('HighBit')})"
    elif 0 in (_rescale(tags)[0], frame.rescaled[0]):
        problem = "has a RescaleSlope of 0"
    else:
        return
    raise ValueError(f"{frame.file.name} {problem}: export it as MONOCHROME2 with RescaleSlope and RescaleIntercept")


def _voxels(frame: Frame) -> NDArray[Any]:
    """Read all frames of a frame's file: columns, rows, frames."""
    shape = tuple(int(frame.tags.get(name, 1)) for name in ("Columns", "Rows", "NumberOfFrames"))
    try:
        data = np.asarray(read_itk(frame.file, "dicom").image.dataobj)
    except ValueError as error:
        raise ValueError(f"{frame.file.name} {error}: copy or export it again") from error
    if (*data.shape, 1, 1)[:3] != shape:
        raise ValueError(f"{frame.file.name} holds {data.shape} voxels, its tags say {shape}")
    return data.reshape(shape)


def _rescaled(frame: Frame, plane: NDArray[Any]) -> NDArray[Any]:
    """Replace the slope and intercept that GDCM applied by the frame's own."""
    (slope, intercept), (applied, offset) = _rescale(frame.tags), frame.rescaled
    if (slope, intercept) == (applied, offset):
        return plane
    return np.asarray((plane - offset) / applied * slope + intercept, np.float32)


def _notes(frames: Sequence[Frame]) -> Iterator[str]:
    """Yield a sentence for each assumption about the values, and for tags that change within the volume."""
    if frames[0].tags.get("Modality") == "CT":
        if any("RescaleSlope" not in frame.tags or "RescaleIntercept" not in frame.tags for frame in frames):
            yield "no RescaleSlope or RescaleIntercept: stored values assumed to be HU"
        if kinds := {frame.tags.get("RescaleType", "HU") for frame in frames} - {"HU", "US"}:
            yield f"RescaleType is {', '.join(sorted(kinds))}, not HU: values taken as HU"
    name, text = next(((name, own) for name in REGIONS if (own := frames[0].tags.get(name))), ("", ""))
    if NO_CHEST.search(text) and not CHEST.search(text):
        yield f"{name} is {text[:40]}, no part of the chest: does the scan show the heart?"
    for label in PARTS:
        values = list(dict.fromkeys(frame.part(label) for frame in frames))
        if label not in SLABS and 1 < len(values) <= len(frames) / 2:
            yield f"{label} changes within the volume ({_listed(values)}): taken as one volume"


def _alternation(data: NDArray[Any]) -> Iterator[str]:
    """Yield a note if neighbouring slices differ more than every second ones."""
    step = max(1, data.shape[0] // 128)
    some = data[::step, ::step].astype(np.float32)
    if some.shape[2] > 3:
        near, far = (np.square(some[:, :, n:] - some[:, :, :-n]).mean() for n in (1, 2))
        if near > MAX_ALTERNATION * far:
            yield "every second slice differs from its neighbours: two acquisitions or phases may alternate"
