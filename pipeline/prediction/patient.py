"""One patient, from files to the folder of the prediction; what is wrong becomes the pipeline's errors."""

import errno
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossmodalnet.inference.predictor import Predictor
from crossmodalnet.inference.segment import is_out_of_memory, mirrorings
from crossmodalnet.processes import what_is_lacking
from pipeline.prediction.origin import Origin, PatientScans
from pipeline.prediction.unzipped import unzipped
from pipeline.prediction.write import prediction_folder, write_prediction
from pipeline.runtime.console import time_in_words
from pipeline.runtime.errors import DataError, ResourceError, UsageError
from pipeline.training.processes import find_device

DEVICES = ("auto", "cpu", "cuda")
logger = logging.getLogger(__name__)


def load_predictor(models: Sequence[Path], device: str, mirror: str = "") -> Predictor:
    """Load a model, a folder or a packed file, or several as an ensemble.

    Raises:
        UsageError: no such kind of device, or no such axes to mirror along.
        DataError: a file of it is missing, damaged or of another version.
        ResourceError: there is no such device.
    """
    if device not in DEVICES:
        raise UsageError(f"--device must be {', '.join(DEVICES)}, got {device}")
    try:
        mirrorings(mirror)
    except ValueError as error:
        raise UsageError(f"--{error}") from error
    try:
        return Predictor.load(*models, device=find_device(device, "--device"), mirror=mirror)
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename} not found: --model takes a folder that `dvc repro export` or "
            "`crossmodalnet export` has written, or a file that `crossmodalnet models pack` has"
        ) from error
    except ValueError as error:
        raise DataError(_in_a_line(str(error))) from error
    except OSError as error:
        raise ResourceError(f"the model cannot be read ({error})") from error


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
    if inside := [path for path in scans.paths.values() if out.resolve() in path.resolve().parents]:
        raise UsageError(f"{inside[0]} lies in {out}, which would be replaced: choose another --out")
    start = time.monotonic()

    estimated = False

    def tell(step: str, left_s: float | None) -> None:
        nonlocal estimated
        spent = time.monotonic() - start
        if left_s is None:
            logger.info("%s: %s (%.0f s)", scans.name, step, spent)
            return
        if not estimated:
            logger.info("%s: about %s on this machine", scans.name, time_in_words(spent + left_s))
            estimated = True
        logger.info("%s: %s (%.0f s, about %s left)", scans.name, step, spent, time_in_words(left_s))

    with prediction_folder(out) as folder, unzipped(scans) as at:
        try:
            found = predictor(ct=at.ct, mr=at.mr, box=origin.box, progress=tell, series=at.series)
        except (ValueError, RuntimeError) as error:
            says = _by_their_names(str(error), scans, at)
            if is_out_of_memory(error):
                raise ResourceError(f"{scans.name}: {says}: try --device cpu") from error
            if lacking := what_is_lacking(error):
                raise ResourceError(f"{scans.name}: {lacking}") from error
            raise DataError(f"{scans.name}: {says}") from error
        except MemoryError as error:
            what = str(error) or "not enough memory for scans of this size"
            raise ResourceError(f"{scans.name}: {what}") from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = ": give the folder for temporary files room (TMPDIR names another)" if full else ""
            raise ResourceError(f"{scans.name}: {error}{remedy}") from error
        tell("writing", None)
        seconds = time.monotonic() - start
        record = write_prediction(folder, found, predictor.cards, origin=origin, at=at, seconds=seconds)
    for doubt in found.doubts:
        logger.warning("%s: look at this: %s", scans.name, doubt.says)
    logger.info("%s: written to %s (%.0f s)", scans.name, out, time.monotonic() - start)
    return record


def _in_a_line(message: str) -> str:
    """Join the first lines of what pydantic says of a card: which field, and what is wrong with it."""
    lines = [line.strip() for line in message.splitlines() if "further information" not in line]
    return ": ".join(filter(None, lines[:3]))


def _by_their_names(message: str, scans: PatientScans, at: PatientScans) -> str:
    """Name a scan as the user did, not by where it was unpacked to."""
    for modality, path in at.paths.items():
        message = message.replace(str(path), str(scans.paths[modality]))
    return message
