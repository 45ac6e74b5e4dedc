"""What is written of one patient's prediction, whole or not at all."""

import json
import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import crossmodalnet
from crossmodalnet.imaging.codes import CODE_SETS
from crossmodalnet.imaging.dicom import series_files
from crossmodalnet.imaging.nifti import write_codes
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.dicom_seg import make_seg
from crossmodalnet.inference.doubts import volumes_ml
from crossmodalnet.inference.preview import preview
from crossmodalnet.inference.result import Prediction
from crossmodalnet.inference.viewer import viewer_page
from crossmodalnet.networks.common.card import ModelCard
from crossmodalnet.roi.box import box_of
from pipeline.prediction.origin import Origin, PatientScans
from pipeline.runtime.errors import ResourceError, UsageError
from pipeline.runtime.files import whole_folder, write_json

logger = logging.getLogger(__name__)

# Of myocardium; ICRU Report 46 (1992) gives 1.06 for the blood-filled heart, cardiac imaging uses 1.05.
MYOCARDIUM_G_PER_ML = 1.05
NOTE = "Research software, not a medical device: not for diagnosis or treatment."
RUN = "run.json"
VOLUMES = "volumes.csv"
PREVIEW = "preview.png"
# Of a pair: its label map there is no better than the registration, so it has to be looked at.
PREVIEW_MR = "preview_mr.png"
VIEWER = "preview.html"
OUTPUTS = {
    RUN, VOLUMES, PREVIEW, PREVIEW_MR, VIEWER,
    *(f"labels_{modality.value}{suffix}" for modality in Modality for suffix in (".nii.gz", ".dcm")),
}  # fmt: skip


@contextmanager
def prediction_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder for a prediction; it becomes `target` when the block ends well, which no other run can use.

    Args:
        target: folder to write; may hold an earlier prediction and nothing else.

    Raises:
        UsageError: the target holds something else, is a file, or is the folder that this runs in.
        ResourceError: it cannot be written, or another run is writing it.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"{target} is no folder: choose another --out")
    if Path.cwd().is_relative_to(target.resolve()):
        raise UsageError(f"{target} is where this runs, and would be replaced: choose another --out")
    found = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
    if others := sorted(found - OUTPUTS):
        raise UsageError(
            f"{target} holds other files and would be replaced ({others[0]}): choose another --out"
        )
    try:
        with whole_folder(target) as new:
            yield new
    except OSError as error:
        raise ResourceError(f"{target} cannot be written ({error}): choose another --out") from error


def write_prediction(
    folder: Path,
    found: Prediction,
    cards: Sequence[ModelCard],
    *,
    origin: Origin,
    at: PatientScans,
    seconds: float,
) -> dict[str, Any]:
    """Write label maps, volumes, pictures and the run's record into a folder.

    Args:
        folder: folder to write into, as `prediction_folder` gives it.
        found: what was found.
        cards: cards of the models.
        origin: what it is made from.
        at: scans where they can be read now, archives unpacked.
        seconds: time that it took.

    Returns:
        The record, as run.json holds it.

    Raises:
        OSError: the folder cannot be written.
    """
    maps = {
        Modality.CT: (found.ct, found.ct_labels),
        Modality.MR: (found.mr, found.mr_labels),
    }
    for modality, (_, labels) in maps.items():
        if labels is not None:
            _write_labels(folder / f"labels_{modality.value}.nii.gz", labels, origin.codes)
            _write_seg(folder / f"labels_{modality.value}.dcm", labels, modality, cards, origin, at)
    volumes = volume_table(found)
    volumes.to_csv(folder / VOLUMES, index=False, float_format="%.3f")
    modality, image, labels = _shown(maps)
    preview(image, labels, modality, found.box).save(folder / PREVIEW)
    if modality is Modality.CT and found.mr and found.mr_labels and found.mr_labels.data.any():
        box = box_of(found.mr_labels)
        preview(found.mr, found.mr_labels, Modality.MR, box).save(folder / PREVIEW_MR)
    title = f"{origin.scans.name}: {modality.name}"
    page = viewer_page(image, labels, modality, found.box, title=title, note=NOTE)
    (folder / VIEWER).write_text(page, "utf-8")
    record = _record(found, cards, origin, seconds, volumes)
    write_json(folder / RUN, record)
    return record


def is_done(folder: Path, origin: Origin) -> bool:
    """Tell whether a folder holds the finished prediction of what is asked for."""
    try:
        record = json.loads((folder / RUN).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and origin.made(record)


def _write_seg(
    path: Path,
    labels: Volume,
    modality: Modality,
    cards: Sequence[ModelCard],
    origin: Origin,
    at: PatientScans,
) -> None:
    """Write a DICOM segmentation where the scan was a series; a series that cannot be referred to has none."""
    folder = at.paths.get(modality.value)
    if folder is None or not folder.is_dir():
        return
    identity = (
        f"{origin.scan_digests} {origin.scans.series} {origin.model_digest} {origin.box} {origin.mirror} "
        f"{modality.value}"
    )
    try:
        files = series_files(folder, origin.scans.series, modality.name)
        seg = make_seg(labels, files, " + ".join(f"{card.name} {card.seed}" for card in cards), identity)
    except ValueError as error:
        logger.warning("%s: no DICOM segmentation: %s", modality.name, error)
    else:
        seg.save_as(path)


def label_values(codes: str) -> dict[str, int]:
    """Give the value of each structure in label maps, by abbreviation.

    Args:
        codes: key of `CODE_SETS`.
    """
    return {name: values[0] for name, values in CODE_SETS[codes].codes.items()}


def volume_table(found: Prediction) -> pd.DataFrame:
    """Volumes in mL of each structure in each scan, and the myocardium's mass in g.

    Returns:
        modality, structure, name, volume_ml, mass_g (of the myocardium alone), confidence.
    """
    rows = []
    for modality, labels in ((Modality.CT, found.ct_labels), (Modality.MR, found.mr_labels)):
        if labels is None:
            continue
        volumes = volumes_ml(labels)
        for structure in STRUCTURES:
            volume = volumes[structure.name]
            mass = volume * MYOCARDIUM_G_PER_ML if structure.abbreviation == "Myo" else None
            rows.append({
                "modality": modality.name, "structure": structure.abbreviation, "name": structure.name,
                "volume_ml": volume, "mass_g": mass, "confidence": found.confidence[structure.abbreviation],
            })  # fmt: skip
    return pd.DataFrame(rows)


def _write_labels(path: Path, labels: Volume, codes: str) -> None:
    values, table = label_values(codes), np.zeros(len(STRUCTURES) + 1, np.int16)
    for structure in STRUCTURES:
        table[structure.index] = values[structure.abbreviation]
    write_codes(path, table[labels.data], labels.affine)


def _shown(
    maps: Mapping[Modality, tuple[Volume | None, Volume | None]],
) -> tuple[Modality, Volume, Volume]:
    """The scan that the page is of: the CT where there is one, whose world the box is in."""
    for modality, (image, labels) in maps.items():
        if image is not None and labels is not None:
            return modality, image, labels
    raise ValueError("a prediction must have an image with its label map, got none")


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: round(value, 4) if value == value else None for name, value in values.items()}


def _record(
    found: Prediction,
    cards: Sequence[ModelCard],
    origin: Origin,
    seconds: float,
    volumes: pd.DataFrame,
) -> dict[str, Any]:
    return {
        "note": NOTE,
        "made_from": origin.as_record(),
        "quality_flags": [{"flag": doubt.flag.value, "says": doubt.says} for doubt in found.doubts],
        "label_values": label_values(origin.codes),
        "volumes_ml": {
            name: {row["structure"]: round(row["volume_ml"], 3) for _, row in own.iterrows()}
            for name, own in volumes.groupby("modality", sort=False)
        },
        "confidence": _rounded(found.confidence),
        "agreement": _rounded(found.agreement) if len(cards) > 1 else None,
        "heart_box_mm": [list(map(float, found.box.low_mm)), list(map(float, found.box.high_mm))],
        "registration": {
            name: round(value, 6) for name, value in asdict(found.registration).items()
        } if found.registration else None,
        "models": [
            {"name": card.name, "seed": card.seed, "validation_dice": round(card.validation_dice, 4)}
            for card in cards
        ],
        "versions": {
            "crossmodalnet": crossmodalnet.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("antspyx", "nibabel", "numpy", "SimpleITK", "torch")},
        },
        "seconds": round(seconds, 1),
    }  # fmt: skip
