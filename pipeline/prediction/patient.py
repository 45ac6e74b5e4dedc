"""One patient, from files to the folder of the prediction; what is wrong becomes the pipeline's errors."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmodalnet.cropping.heart_box import Box
from crossmodalnet.prediction.predictor import Predictor
from pipeline.common.errors import DataError, ResourceError, UsageError
from pipeline.compute.devices import find_device
from pipeline.prediction.write import check_target, write_prediction

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PatientScans:
    """A patient's scans: files, or folders of DICOM; at least one of the two."""

    name: str
    ct: Path | None
    mr: Path | None


def load_predictor(folder: Path, device: str) -> Predictor:
    """Load a model folder.

    Raises:
        DataError: a file of it is missing, damaged or of another version.
        ResourceError: there is no such device.
    """
    try:
        return Predictor.load(folder, find_device(device, "--device"))
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename} not found: --model takes a folder that `dvc repro export` or "
            "`crossmodalnet export` has written"
        ) from error
    except ValueError as error:
        raise DataError(str(error)) from error


def predict_patient(
    predictor: Predictor, model: Path, scans: PatientScans, out: Path, *, codes: str, box: Box | None
) -> dict[str, Any]:
    """Segment a patient and write what was found.

    Returns:
        The record, as run.json holds it.

    Raises:
        UsageError: nothing to segment, or `out` holds other files.
        DataError: a scan cannot be used.
        ResourceError: memory or disk do not suffice.
    """
    if scans.ct is None and scans.mr is None:
        raise UsageError("give --ct, --mr or both")
    check_target(out)
    start = time.monotonic()

    def tell(step: str) -> None:
        logger.info("%s: %s (%.0f s)", scans.name, step, time.monotonic() - start)

    try:
        found = predictor(ct=scans.ct, mr=scans.mr, box=box, progress=tell)
    except (ValueError, RuntimeError) as error:
        if "out of memory" in str(error).lower():
            raise ResourceError(f"{scans.name}: {error}: try --device cpu") from error
        raise DataError(f"{scans.name}: {error}") from error
    except MemoryError as error:
        raise ResourceError(f"{scans.name}: not enough memory for scans of this size") from error
    inputs = {name: str(path) for name, path in (("ct", scans.ct), ("mr", scans.mr)) if path is not None}
    seconds = time.monotonic() - start
    record = write_prediction(
        out, found, predictor.card, codes=codes, inputs=inputs, model=model, seconds=seconds
    )
    for warning in found.warnings:
        logger.warning("%s: look at this: %s", scans.name, warning)
    logger.info("%s: written to %s (%.0f s)", scans.name, out, seconds)
    return record
