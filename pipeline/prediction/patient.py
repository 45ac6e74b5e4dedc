"""One patient, from files to the folder of the prediction; what is wrong becomes the pipeline's errors."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossmodalnet.prediction.predictor import Predictor
from pipeline.common.errors import DataError, ResourceError, UsageError
from pipeline.compute.devices import find_device
from pipeline.prediction.origin import Origin, PatientScans
from pipeline.prediction.unzipped import unzipped
from pipeline.prediction.write import check_target, write_prediction

DEVICES = ("auto", "cpu", "cuda")
logger = logging.getLogger(__name__)


def load_predictor(folders: Sequence[Path], device: str) -> Predictor:
    """Load a model folder, or several as an ensemble.

    Raises:
        UsageError: no such kind of device.
        DataError: a file of it is missing, damaged or of another version.
        ResourceError: there is no such device.
    """
    if device not in DEVICES:
        raise UsageError(f"--device must be {', '.join(DEVICES)}, got {device}")
    try:
        return Predictor.load(*folders, device=find_device(device, "--device"))
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename} not found: --model takes a folder that `dvc repro export` or "
            "`crossmodalnet export` has written"
        ) from error
    except ValueError as error:
        raise DataError(str(error)) from error


def predict_patient(predictor: Predictor, origin: Origin, out: Path) -> dict[str, Any]:
    """Segment a patient and write what was found.

    Args:
        predictor: predictor of the model that `origin` names.
        origin: scans and options.
        out: folder to write, as a whole or not at all.

    Returns:
        The record, as run.json holds it.

    Raises:
        UsageError: nothing to segment, or `out` holds other files.
        DataError: a scan cannot be used.
        ResourceError: memory or disk do not suffice, or `out` cannot be written.
    """
    scans = origin.scans
    if not scans.paths:
        raise UsageError("give --ct, --mr or both")
    check_target(out)
    if inside := [path for path in scans.paths.values() if out.resolve() in path.resolve().parents]:
        raise UsageError(f"{inside[0]} lies in {out}, which would be replaced: choose another --out")
    start = time.monotonic()

    def tell(step: str) -> None:
        logger.info("%s: %s (%.0f s)", scans.name, step, time.monotonic() - start)

    with unzipped(scans) as at:
        try:
            found = predictor(ct=at.ct, mr=at.mr, box=origin.box, progress=tell, series=at.series)
        except (ValueError, RuntimeError) as error:
            says = _by_their_names(str(error), scans, at)
            if "out of memory" in says.lower():
                raise ResourceError(f"{scans.name}: {says}: try --device cpu") from error
            raise DataError(f"{scans.name}: {says}") from error
        except MemoryError as error:
            raise ResourceError(f"{scans.name}: not enough memory for scans of this size") from error
        seconds = time.monotonic() - start
        record = write_prediction(out, found, predictor.cards, origin=origin, at=at, seconds=seconds)
    for doubt in found.doubts:
        logger.warning("%s: look at this: %s", scans.name, doubt.says)
    logger.info("%s: written to %s (%.0f s)", scans.name, out, seconds)
    return record


def _by_their_names(message: str, scans: PatientScans, at: PatientScans) -> str:
    """Name a scan as the user did, not by where it was unpacked to."""
    for modality, path in at.paths.items():
        message = message.replace(str(path), str(scans.paths[modality]))
    return message
