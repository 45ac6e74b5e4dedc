"""Many patients: a table of scans, finished ones kept, those that fail listed at the end."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from crossmodalnet.prediction.predictor import Predictor
from pipeline.common.errors import DataError, PipelineError
from pipeline.prediction.origin import PatientScans, origin_of
from pipeline.prediction.patient import duration, predict_patient
from pipeline.prediction.write import is_done

logger = logging.getLogger(__name__)


def read_cohort_table(path: Path) -> list[PatientScans]:
    """Read a CSV with the columns patient, ct and mr; files relative to its folder, an empty cell where there is none.

    Raises:
        DataError: it cannot be read, a column is missing, a name is used twice or is no name of a folder, a row has
            no scan; names the row.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a table ({error})") from error
    if "patient" not in table.columns or not {"ct", "mr"} & set(table.columns):
        raise DataError(
            f"{path} needs the columns patient, and ct, mr or both; it has {', '.join(map(str, table.columns))}"
        )
    problems, patients = [], []
    seen: set[str] = set()
    for number, row in enumerate(table.to_dict("records"), 2):
        name = row["patient"].strip()
        cells = {column: row.get(column, "").strip() for column in ("ct", "mr")}
        if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            problems.append(f"row {number}: {name!r} is no name for a folder")
        elif name.lower() in seen:
            problems.append(f"row {number}: patient {name} a second time")
        elif not any(cells.values()):
            problems.append(f"row {number}: patient {name} has neither a CT nor an MR")
        seen.add(name.lower())
        files = {column: path.parent / cell if cell else None for column, cell in cells.items()}
        patients.append(PatientScans(name, files["ct"], files["mr"]))
    if problems:
        raise DataError(f"{path}: {'; '.join(problems)}")
    if not patients:
        raise DataError(f"{path} has no rows")
    return patients


def predict_cohort(
    predictor: Predictor,
    model_digest: str,
    patients: list[PatientScans],
    out: Path,
    *,
    codes: str,
    mirror: str = "",
) -> None:
    """Segment patients one after the other into folders of `out`.

    A folder with the prediction of the same scans by the same model is left; one of other scans, another model or
    other codes is made anew.

    Args:
        predictor: predictor of the model.
        model_digest: digest of the model's folder.
        patients: scans and names of the folders.
        out: folder of the folders.
        codes: what the values of label maps are.
        mirror: axes along which the predictor mirrors.

    Raises:
        DataError: a patient could not be segmented; the others were.
    """
    failed: dict[str, PipelineError] = {}
    seconds: list[float] = []
    for number, scans in enumerate(patients, 1):
        left = f", about {_left(seconds, len(patients) - number + 1)} left" if seconds else ""
        logger.info("patient %d of %d: %s%s", number, len(patients), scans.name, left)
        start = time.monotonic()
        origin = origin_of(scans, model_digest, codes=codes, box=None, mirror=mirror)
        if is_done(out / scans.name, origin):
            logger.info("%s: done before", scans.name)
            continue
        try:
            predict_patient(predictor, origin, out / scans.name)
        except PipelineError as error:
            logger.error("error: %s", error)
            failed[scans.name] = error
        else:
            seconds.append(time.monotonic() - start)
    if failed:
        lines = "\n".join(f"  {error}" for error in failed.values())
        raise DataError(f"{len(failed)} of {len(patients)} patients were not segmented:\n{lines}")


def _left(seconds: Sequence[float], num_patients: int) -> str:
    """Say how long so many patients take, by the mean of those that were segmented."""
    return duration(sum(seconds) / len(seconds) * num_patients)
