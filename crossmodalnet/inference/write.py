"""Write the folder of a prediction atomically, and recognise a finished one."""

import hashlib
import json
import logging
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import crossmodalnet
from crossmodalnet.errors import ResourceError, UsageError
from crossmodalnet.imaging.codes import CODE_SETS
from crossmodalnet.imaging.dicom import MAX_FILES, series_files
from crossmodalnet.imaging.nifti import write_codes
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.dicom_seg import make_seg
from crossmodalnet.inference.model_folder import MAX_MODEL_BYTES, model_folder
from crossmodalnet.inference.predictor import Prediction
from crossmodalnet.inference.preview import preview
from crossmodalnet.inference.quality_flags import volumes_ml
from crossmodalnet.inference.viewer import View, viewer_page
from crossmodalnet.io.outputs import file_digest, whole_folder, write_json
from crossmodalnet.networks.common.card import ModelCard
from crossmodalnet.roi.box import Box, box_of

logger = logging.getLogger(__name__)

# Density of myocardium: ICRU Report 46 (1992) gives 1.06 for the blood-filled heart, cardiac imaging uses 1.05.
MYOCARDIUM_G_PER_ML = 1.05
NOTE = "Research software, not a medical device: not for diagnosis or treatment."
RUN = "run.json"
VOLUMES = "volumes.csv"
PREVIEW = "preview.png"
# Second preview of a pair: the MR's label map depends on the registration.
PREVIEW_MR = "preview_mr.png"
VIEWER = "preview.html"
OUTPUTS = {
    RUN, VOLUMES, PREVIEW, PREVIEW_MR, VIEWER,
    *(f"labels_{modality.value}{suffix}" for modality in Modality for suffix in (".nii.gz", ".dcm")),
}  # fmt: skip


@dataclass(frozen=True)
class PatientScans:
    """Scans of one patient: files, or folders of DICOM."""

    name: str
    ct: Path | None
    mr: Path | None
    series: tuple[str, ...] = ()  # names of DICOM series, where a folder has several

    @property
    def paths(self) -> dict[str, Path]:
        """Return the existing scans, by modality."""
        return {name: path for name, path in (("ct", self.ct), ("mr", self.mr)) if path is not None}


def origin_of(scans: PatientScans, model_digest: str, *, codes: str, box: Box | None = None) -> dict[str, Any]:
    """Record the inputs of a prediction, `made_from` of run.json; `codes` is a key of `CODE_SETS`."""
    return {
        "inputs": {name: {"path": str(path), "sha256": _digest(path)} for name, path in scans.paths.items()},
        "series": list(scans.series),
        "model_sha256": model_digest,
        "labels": codes,
        "box_given_mm": None if box is None else [list(box.low_mm), list(box.high_mm)],
        "crossmodalnet": crossmodalnet.__version__,
    }


def is_done(folder: Path, origin: Mapping[str, Any]) -> bool:
    """Return True if a folder holds the finished prediction of these inputs; scans may have moved."""
    try:
        record = json.loads((folder / RUN).read_text("utf-8"))
        earlier = _without_paths(record["made_from"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    wanted = _without_paths(origin)
    return None not in wanted["inputs"].values() and earlier == wanted


def digest_models(models: Sequence[Path]) -> str:
    """Compute the SHA-256 of the names and contents of model files, in order, packed or not."""
    digests = []
    for model in models:
        with model_folder(model) as folder:
            digests.append(
                _digest_files([folder / name for name in sorted(MAX_MODEL_BYTES) if (folder / name).is_file()])
            )
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


@contextmanager
def prediction_folder(target: Path) -> Iterator[Path]:
    """Yield an empty, locked folder that replaces an earlier prediction if the block succeeds.

    UsageError if the target is anything else, ResourceError if it cannot be written or another run is writing it.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"{target} is no folder: choose another --out")
    if Path.cwd().is_relative_to(target.resolve()):
        raise UsageError(f"{target} is where this runs, and would be replaced: choose another --out")
    entries = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
    if others := sorted(entries - OUTPUTS):
        raise UsageError(f"{target} holds other files and would be replaced ({others[0]}): choose another --out")
    try:
        with whole_folder(target) as new:
            yield new
    except OSError as error:
        raise ResourceError(f"{target} cannot be written ({error}): choose another --out") from error


def write_prediction(
    folder: Path,
    prediction: Prediction,
    cards: Sequence[ModelCard],
    scans: PatientScans,
    origin: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Write a prediction of `scans` (archives unpacked) with run.json, and return its record."""
    maps = {Modality.CT: (prediction.ct, prediction.ct_labels), Modality.MR: (prediction.mr, prediction.mr_labels)}
    codes = {name: values[0] for name, values in CODE_SETS[origin["labels"]].codes.items()}
    table = np.zeros(len(STRUCTURES) + 1, np.int16)
    for structure in STRUCTURES:
        table[structure.index] = codes[structure.abbreviation]
    for modality, (_, labels) in maps.items():
        if labels is not None:
            write_codes(folder / f"labels_{modality.value}.nii.gz", table[labels.data], labels.affine)
            _write_seg(folder / f"labels_{modality.value}.dcm", labels, modality, cards, scans, origin)
    learnt = {entry.abbreviation for card in cards for entry in card.labels}
    volumes = volume_table(prediction, learnt)
    volumes.to_csv(folder / VOLUMES, index=False, float_format="%.3f")
    # The ROI is in the CT's world, so pictures show the CT if there is one.
    modality = Modality.CT if prediction.ct else Modality.MR
    image, labels = maps[modality]
    assert image is not None
    assert labels is not None
    views = [View(modality, image, labels, prediction.box)]
    mr, mr_labels = maps[Modality.MR]
    if modality is Modality.CT and mr and mr_labels and mr_labels.data.any():
        views.append(View(Modality.MR, mr, mr_labels, box_of(mr_labels)))
    for view, name in zip(views, (PREVIEW, PREVIEW_MR), strict=False):
        preview(view.image, view.labels, view.modality, view.box, learnt).save(folder / name)
    flags = [flag.says for flag in prediction.quality_flags]
    note = f"{NOTE} {trained_on(cards)}."
    page = viewer_page(views, volumes, flags, learnt=learnt, title=scans.name, note=note)
    (folder / VIEWER).write_text(page, "utf-8")
    record = _record(prediction, cards, origin, codes, volumes, seconds)
    write_json(folder / RUN, record)
    return record


def trained_on(cards: Sequence[ModelCard]) -> str:
    """Say whose scans trained the models."""
    return f"Trained on {' and '.join(dict.fromkeys(card.origin for card in cards))}"


def volume_table(prediction: Prediction, learnt: Collection[str]) -> pd.DataFrame:
    """Tabulate structures by scan: volume in mL, mass of the myocardium in g, and confidence.

    Structures that the model has not learnt have no row; the warped label map of a pair's MR has no confidence.
    """
    rows = []
    segmented = Modality.CT if prediction.ct_labels else Modality.MR
    for modality, labels in ((Modality.CT, prediction.ct_labels), (Modality.MR, prediction.mr_labels)):
        if labels is None:
            continue
        volumes = volumes_ml(labels)
        for structure in STRUCTURES:
            volume = volumes[structure.name]
            if structure.abbreviation not in learnt and not volume:
                continue
            confidence = prediction.confidence[structure.abbreviation] if modality is segmented else None
            mass = volume * MYOCARDIUM_G_PER_ML if structure.abbreviation == "Myo" else None
            rows.append({
                "modality": modality.name, "structure": structure.abbreviation, "name": structure.name,
                "volume_ml": volume, "mass_g": mass, "confidence": confidence,
            })  # fmt: skip
    return pd.DataFrame(rows)


def _write_seg(
    path: Path,
    labels: Volume,
    modality: Modality,
    cards: Sequence[ModelCard],
    scans: PatientScans,
    origin: Mapping[str, Any],
) -> None:
    """Write a DICOM segmentation of a scan from a series; warn and skip an incomplete series."""
    folder = scans.paths.get(modality.value)
    if folder is None or not folder.is_dir():
        return
    try:
        files = series_files(folder, scans.series, modality.name)
        model = " + ".join(f"{card.name} {card.seed}" for card in cards)
        seg = make_seg(labels, files, model, f"{_without_paths(origin)} {modality.value}")
    except ValueError as error:
        logger.warning("%s: no DICOM segmentation: %s", modality.name, error)
    else:
        seg.save_as(path)


def _record(
    prediction: Prediction,
    cards: Sequence[ModelCard],
    origin: Mapping[str, Any],
    codes: Mapping[str, int],
    volumes: pd.DataFrame,
    seconds: float,
) -> dict[str, Any]:
    quality = asdict(prediction.registration) if prediction.registration else None
    return {
        "note": NOTE,
        "made_from": origin,
        "quality_flags": [{"flag": flag.flag.value, "says": flag.says} for flag in prediction.quality_flags],
        "label_values": codes,
        "volumes_ml": {
            name: {row["structure"]: round(row["volume_ml"], 3) for _, row in own.iterrows()}
            for name, own in volumes.groupby("modality", sort=False)
        },
        "confidence": _rounded({name: prediction.confidence[name] for name in volumes["structure"].unique()}),
        "agreement": _rounded(prediction.agreement) if len(cards) > 1 else None,
        "heart_box_mm": [[round(float(mm), 2) for mm in corner] for corner in prediction.box.ends_mm],
        "registration": None if quality is None else _rounded(quality),
        "models": [
            {"name": card.name, "seed": card.seed, "trained_on": card.origin}
            | {"validation_dice": round(card.validation_dice, 4)}
            for card in cards
        ],
        "versions": {
            "crossmodalnet": crossmodalnet.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("antspyx", "nibabel", "numpy", "SimpleITK", "torch")},
        },
        "seconds": round(seconds, 1),
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    """Round to 0.01 mm, and to four decimals; NaN becomes None."""
    return {
        name: None if np.isnan(value) else round(value, 2 if name.endswith("_mm") else 4)
        for name, value in values.items()
    }


def _without_paths(origin: Mapping[str, Any]) -> dict[str, Any]:
    return {**origin, "inputs": {name: entry["sha256"] for name, entry in origin["inputs"].items()}}


def _digest(path: Path) -> str | None:
    """Compute the SHA-256 of a file, or of a folder's file names and contents; None if unreadable."""
    try:
        if path.is_dir():
            return _digest_files(sorted(entry for entry in islice(path.iterdir(), MAX_FILES) if entry.is_file()))
        return file_digest(path) if path.is_file() else None
    except OSError:
        return None


def _digest_files(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file_digest(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
