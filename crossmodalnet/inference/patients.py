"""Predict one patient or a table of patients, from files to folders."""

import errno
import logging
import math
import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from crossmodalnet.errors import CrossModalNetError, DataError, ResourceError, UsageError, no_model, resource_problem
from crossmodalnet.imaging.dicom import DICOM_SUFFIXES, is_dicom_file
from crossmodalnet.imaging.read import format_of
from crossmodalnet.inference.predictor import Predictor
from crossmodalnet.inference.segment import is_out_of_memory
from crossmodalnet.inference.write import VIEWER, PatientScans, is_done, prediction_folder, write_prediction
from crossmodalnet.io.archive import Budget, extract
from crossmodalnet.io.console import track
from crossmodalnet.io.outputs import remove_partial
from crossmodalnet.io.table_text import TableError, alike_names, columns_of, name_problem, read_table_text, table_cells
from crossmodalnet.networks.common.device import find_device
from crossmodalnet.processes import scratch_folder
from crossmodalnet.roi.box import Box

logger = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda")
COLUMNS = ("patient", "ct", "mr")
MAX_ALIKE = 8
# A study of 1000 slices of 512 x 512 has 0.5 GB.
MAX_UNPACKED_BYTES = 8 * 10**9


@dataclass(frozen=True)
class PatientTask:
    """A patient to segment."""

    scans: PatientScans
    out: Path  # folder to write
    origin: dict[str, Any]  # inputs, as `origin_of` records them
    box: Box | None = None  # heart ROI of the user; found by atlases if None

    @property
    def name(self) -> str:
        """Return the name of the patient."""
        return self.scans.name


# Segments patients, and yields the error of each, None if it succeeded.
RunPatients = Callable[[Sequence[PatientTask]], Iterable[tuple[PatientTask, CrossModalNetError | None]]]


def load_predictor(models: Sequence[Path], device: str) -> Predictor:
    """Load a model, a folder or a packed file, or several as an ensemble.

    UsageError for an unknown device, ResourceError for one that is not there, DataError for an unusable model.
    """
    if device not in DEVICES:
        raise UsageError(f"--device must be {', '.join(DEVICES)} (cuda: the GPU), got {device}")
    try:
        return Predictor.load(*models, device=find_device(device, "--device"))
    except FileNotFoundError as error:
        raise DataError(no_model(error.filename)) from error
    except ValueError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise ResourceError(f"the model cannot be read ({error})") from error


def predict_patient(predictor: Predictor, task: PatientTask) -> dict[str, Any]:
    """Segment a patient and write the prediction folder, atomically; return the record of run.json.

    UsageError if the folder holds other files, DataError if a scan cannot be used, ResourceError for memory or disk.
    """
    scans, out = task.scans, task.out
    if inside := [path for path in scans.paths.values() if out.resolve() in path.resolve().parents]:
        raise UsageError(f"{inside[0]} lies in {out}, which would be replaced: choose another --out")
    start = time.monotonic()

    def report(step: str) -> None:
        logger.info("%s: %s (%.0f s)", scans.name, step, time.monotonic() - start)

    with prediction_folder(out) as folder, unzipped(scans) as at:
        try:
            prediction = predictor(ct=at.ct, mr=at.mr, box=task.box, progress=report, series=at.series)
        except (ValueError, RuntimeError, MemoryError, OSError) as error:
            for note in getattr(error, "__notes__", ()):
                logger.warning("%s: %s", scans.name, note)
            raise _explained(error, scans, at) from error
        report("writing")
        seconds = time.monotonic() - start
        record = write_prediction(folder, prediction, predictor.cards, at, task.origin, seconds)
    for flag in prediction.quality_flags:
        logger.warning("%s: look at this: %s", scans.name, flag.says)
    report(f"written to {out}: open {out / VIEWER} in a browser")
    return record


def read_box(text: str) -> Box:
    """Read two corners of a heart ROI (mm, RAS): six numbers, lowest first; UsageError for others."""
    try:
        a, b, c, x, y, z = (float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise UsageError(f"--box must be six numbers in mm, got {text!r}") from error
    if not all(-math.inf < low < high < math.inf for low, high in ((a, x), (b, y), (c, z))):
        raise UsageError(f"--box must be the lowest and then the highest corner in mm, got {text!r}")
    return Box((a, b, c), (x, y, z))


def read_cohort_table(path: str | os.PathLike[str]) -> list[PatientScans]:
    """Read a CSV with the columns patient, ct and mr; paths are relative to it, cells may be empty.

    DataError, which names the row, for a table that cannot be read, an invalid or repeated name, a row without a scan.
    """
    path = Path(path)
    try:
        cells = table_cells(read_table_text(path, COLUMNS))
        columns, unused = columns_of(cells, ("patient",), ("ct", "mr"))
        if len(columns) < 2:
            raise TableError("row 1", "no column ct or mr", f"begin the table with {','.join(COLUMNS)}")
    except TableError as error:
        raise DataError(f"{path}: {error}") from error
    for absent in sorted({"ct", "mr"} - {*columns}):
        logger.warning("%s: no column %s, so no patient has such a scan", path, absent)
    if unused:
        logger.warning("%s: columns that are not used: %s", path, ", ".join(unused))
    problems, patients = [], []
    names: set[str] = set()
    for number, values in enumerate(cells.iloc[1:].to_numpy(), 2):
        row = {column: str(values[place]).strip() for column, place in columns.items()}
        if not any(row.values()):
            continue
        name, scans = row["patient"], [row.get(column, "") for column in ("ct", "mr")]
        folder = unicodedata.normalize("NFKC", name).lower()
        if not name or name.startswith(".") or set(name) & set("/\\\0"):
            problems.append(f"row {number}: {name!r} is no name for a folder: leave out / and \\, and a dot in front")
        elif problem := name_problem(name):
            problems.append(f"row {number}: patient's {problem}")
        elif folder in names:
            problems.append(f"row {number}: patient {name} a second time: give each patient one row")
        elif not any(scans):
            problems.append(f"row {number}: patient {name} has neither a CT nor an MR")
        names.add(folder)
        ct, mr = (path.parent / cell if cell else None for cell in scans)
        patients.append(PatientScans(name, ct, mr))
    if problems:
        raise DataError(f"{path}: {'; '.join(problems)}")
    if not patients:
        raise DataError(f"{path} has no rows")
    if alike := [f"{first} and {other}" for first, other in alike_names([scans.name for scans in patients])]:
        text = "%s: may be one person, whose CT and MR belong in one row: %s"
        logger.warning(text, path, "; ".join(alike[:MAX_ALIKE]))
    return patients


def predict_patients(tasks: Sequence[PatientTask], run: RunPatients) -> None:
    """Segment patients; skip finished predictions of the same inputs.

    After all others: DataError for patients that could not be segmented, ResourceError for those that killed workers.
    """
    todo = []
    for task in tasks:
        if is_done(task.out, task.origin):
            logger.info("%s: done before", task.name)
        else:
            todo.append(task)
    failed = {}
    try:
        for task, error in track(run(todo), "patient", len(todo)):
            if error is not None:
                logger.error("error: %s", error)
                failed[task.name] = error
    finally:
        for task in todo:  # workers that were killed, as by Ctrl-C, leave partial folders
            remove_partial(task.out)
    if failed:
        lines = "\n".join(f"  {failed[task.name]}" for task in todo if task.name in failed)
        raise DataError(f"{len(failed)} of {len(tasks)} patients were not segmented:\n{lines}")


def one_after_another(
    predictor: Predictor, tasks: Sequence[PatientTask]
) -> Iterator[tuple[PatientTask, CrossModalNetError | None]]:
    """Segment patients one after another; see `RunPatients`."""
    for task in tasks:
        yield task, attempt(predictor, task)


def attempt(predictor: Predictor, task: PatientTask) -> CrossModalNetError | None:
    """Segment a patient; return the error if it fails."""
    try:
        predict_patient(predictor, task)
    except CrossModalNetError as error:
        return error
    return None


@contextmanager
def unzipped(scans: PatientScans) -> Iterator[PatientScans]:
    """Replace zip archives of DICOM by temporary folders; folders in an archive are merged.

    DataError for a damaged, unsafe or too large archive, or one without DICOM; ResourceError for a full disk.
    """
    with ExitStack() as stack:
        ct, mr = (None if path is None else _unpacked(path, stack) for path in (scans.ct, scans.mr))
        yield replace(scans, ct=ct, mr=mr)


def _unpacked(path: Path, stack: ExitStack) -> Path:
    if not path.is_file() or format_of(path) or not (path.suffix.lower() == ".zip" or is_zipfile(path)):
        return path
    folder = stack.enter_context(scratch_folder())
    files = extract(path, folder, _could_be_dicom, Budget(MAX_UNPACKED_BYTES))
    # As in a folder, content decides; old files without preamble go by their names.
    for name, file in files:
        if not is_dicom_file(file) and not _is_named_like_dicom(name):
            file.unlink()
    if not any(folder.iterdir()):
        raise DataError(f"{path} holds no file that could be DICOM: give NIfTI and other formats unpacked")
    return folder


def _could_be_dicom(name: str) -> bool:
    """Reject the archiver's files, indexes of discs, and files of other formats."""
    last = name.rsplit("/", 1)[-1].lower()
    return not (last.startswith(".") or last == "dicomdir" or name.startswith("__MACOSX") or format_of(Path(last)))


def _is_named_like_dicom(name: str) -> bool:
    """Accept names with a DICOM suffix, none, or a part of a UID."""
    last = name.rsplit("/", 1)[-1].lower()
    suffix = last.rpartition(".")[2] if "." in last else ""
    return not suffix or suffix.isdigit() or last.endswith(DICOM_SUFFIXES)


def _explained(error: Exception, scans: PatientScans, at: PatientScans) -> CrossModalNetError:
    """Convert an error of a prediction to one for the user, with the user's paths."""
    text = str(error)
    for modality, path in at.paths.items():
        text = text.replace(str(path), str(scans.paths[modality]))
    if isinstance(error, MemoryError):
        return ResourceError(f"{scans.name}: {text or 'not enough memory for scans of this size'}")
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = ": make room in the folder for temporary files, or set TMPDIR to another" if full else ""
        return ResourceError(f"{scans.name}: {text}{remedy}")
    if is_out_of_memory(error):
        return ResourceError(f"{scans.name}: {text}: try --device cpu")
    if lack := resource_problem(error):
        return ResourceError(f"{scans.name}: {lack}")
    return DataError(f"{scans.name}: {text}")
