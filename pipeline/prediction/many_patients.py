"""Many patients: a table of scans, finished ones kept, those that fail listed at the end."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from crossmodalnet.inference.predictor import Predictor
from pipeline.cohort.table import TableError, name_problem, read_table_text, table_cells
from pipeline.prediction.origin import PatientScans, origin_of
from pipeline.prediction.patient import predict_patient
from pipeline.prediction.side_by_side import PatientWorkers, PredictTask, predict_side_by_side
from pipeline.prediction.write import is_done
from pipeline.runtime.console import time_in_words
from pipeline.runtime.errors import DataError, PipelineError
from pipeline.runtime.files import remove_partial

logger = logging.getLogger(__name__)
COLUMNS = ("patient", "ct", "mr")


def read_cohort_table(path: Path) -> list[PatientScans]:
    """Read a CSV with the columns patient, ct and mr; files relative to its folder, an empty cell where there is none.

    Raises:
        DataError: it cannot be read, a column is missing, a name is used twice or is no name of a folder, a row has
            no scan; names the row.
    """
    try:
        cells = table_cells(read_table_text(path, COLUMNS))
    except TableError as error:
        raise DataError(f"{path}: {error}") from error
    header = [str(name).strip() for name in cells.iloc[0]]
    if "patient" not in header or not {"ct", "mr"} & set(header):
        raise DataError(f"{path} needs the columns patient, and ct, mr or both; it has {', '.join(header)}")
    if twice := [column for column in COLUMNS if header.count(column) > 1]:
        raise DataError(f"{path} has column {', '.join(twice)} twice: keep one of the two")
    problems, patients = [], []
    seen: set[str] = set()
    for number, values in enumerate(cells.iloc[1:].to_numpy(), 2):
        row = {column: str(value).strip() for column, value in zip(header, values, strict=True)}
        if not any(row.values()):
            continue
        name, scans = row["patient"], {column: row.get(column, "") for column in ("ct", "mr")}
        if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            problems.append(f"row {number}: {name!r} is no name for a folder")
        elif problem := name_problem(name):
            problems.append(f"row {number}: patient's {problem}")
        elif name.lower() in seen:
            problems.append(f"row {number}: patient {name} a second time")
        elif not any(scans.values()):
            problems.append(f"row {number}: patient {name} has neither a CT nor an MR")
        seen.add(name.lower())
        files = {column: path.parent / cell if cell else None for column, cell in scans.items()}
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
    workers: PatientWorkers | None = None,
) -> None:
    """Segment patients into folders of `out`, several at once where there are workers.

    A folder with the prediction of the same scans by the same model is left; one of other scans, another model or
    other codes is made anew.

    Args:
        predictor: predictor of the model.
        model_digest: digest of the model's folder.
        patients: scans and names of the folders.
        out: folder of the folders.
        codes: what the values of label maps are.
        mirror: axes along which the predictor mirrors.
        workers: how to segment several at once on CPUs; None where the predictor is on a GPU, which has one memory.

    Raises:
        DataError: a patient could not be segmented; the others were.
        ResourceError: patients ended every process that segmented them; the others were segmented.
    """
    tasks = []
    for scans in patients:
        origin = origin_of(scans, model_digest, codes=codes, box=None, mirror=mirror)
        if is_done(out / scans.name, origin):
            logger.info("%s: done before", scans.name)
        else:
            tasks.append(PredictTask(scans.name, origin, out / scans.name))
    try:
        failed = (
            _one_after_the_other(predictor, tasks)
            if workers is None
            else predict_side_by_side(tasks, workers)
        )
    finally:
        for task in tasks:  # of workers that were killed, as by Ctrl-C
            remove_partial(task.out)
    if failed:
        lines = "\n".join(f"  {failed[task.name]}" for task in tasks if task.name in failed)
        raise DataError(f"{len(failed)} of {len(patients)} patients were not segmented:\n{lines}")


def _one_after_the_other(predictor: Predictor, tasks: Sequence[PredictTask]) -> dict[str, PipelineError]:
    failed: dict[str, PipelineError] = {}
    seconds: list[float] = []
    for number, task in enumerate(tasks, 1):
        mean = sum(seconds) / max(1, len(seconds))
        left = f", about {time_in_words(mean * (len(tasks) - number + 1))} left" if seconds else ""
        logger.info("patient %d of %d: %s%s", number, len(tasks), task.name, left)
        start = time.monotonic()
        try:
            predict_patient(predictor, task.origin, task.out)
        except PipelineError as error:
            logger.error("error: %s", error)
            failed[task.name] = error
        else:
            seconds.append(time.monotonic() - start)
    return failed
