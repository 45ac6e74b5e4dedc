"""Check the files of a cohort and list every finding in one table."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.codes import MMWHS, LabelCodes
from crossmodalnet.imaging.geometry import reoriented_grid
from crossmodalnet.imaging.inspect import ImageProblem, Inspection, Severity, grid_problems, inspect_file
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.untrusted import UntrustedImage, read_untrusted
from crossmodalnet.imaging.volume import Grid
from crossmodalnet.io.console import plain_table, track
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CohortFinding:
    """One line of the table.

    Attributes:
        severity: an error stops the stage, a warning does not.
        case: subject, row of a table with its subject, `table`, or `all`.
        file: file as the user knows it, empty where the finding concerns none.
        what: the fault.
        remedy: what to do about it.
    """

    severity: Severity
    case: str
    file: str
    what: str
    remedy: str


def require_sound(findings: list[CohortFinding]) -> None:
    """Log warnings, stop on errors; either way all findings are shown in one table.

    Raises:
        DataError: at least one finding is an error; the message is the table.
    """
    num_errors = sum(finding.severity == "error" for finding in findings)
    summary = f"integrity check: {num_errors} error(s), {len(findings) - num_errors} warning(s)"
    if num_errors:
        raise DataError(
            f"{summary}\n{table(findings)}\nnothing was written: correct the files and run the stage again"
        )
    if findings:
        logger.warning("%s\n%s", summary, table(findings))
    else:
        logger.info("%s", summary)


def table(findings: list[CohortFinding]) -> str:
    """Render findings as plain text, errors first, then by case; as wide as the terminal."""
    ordered = sorted(findings, key=lambda f: (f.severity, _natural(f.case), f.file, f.what))
    rows = [
        (
            f.severity,
            shown(f.case),
            shown(f.file),
            *(shown(" ".join(text.split("\n"))) for text in (f.what, f.remedy)),
        )
        for f in ordered
    ]
    return plain_table(("severity", "case", "file", "what", "remedy"), rows)


def shown(text: str) -> str:
    r"""Give a text in which a file's name cannot move the cursor, hide, or run backwards: signs are written out.

    >>> shown("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _natural(text: str) -> list[str | int]:
    """Sort `row 10` after `row 9`: text and numbers in turn."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


# Less than this is read faster than worker processes start.
SEQUENTIAL_BYTES = 2**26
# Measured on scans of real size (docs/clusters.md).
COST = CaseCost(base_mb=150, bytes_per_voxel=4)
MIN_LABELLED = 3

Part = Literal["train", "test"]

# Title of the case, the file it concerns if any, and what is wrong.
CaseProblem = tuple[str, Path | None, ImageProblem]


@dataclass(frozen=True)
class CaseFiles:
    """The files of one subject.

    Attributes:
        name: name of the case, for instance `ct_1001`.
        modality: CT or MR.
        part: training subjects must have labels, test subjects need none.
        image: None where only a label map is there.
        label: None where there is none.
        row: number of the row of the user's table, the header being row 1; None where there is no table.
    """

    name: str
    modality: Modality
    part: Part
    image: Path | None
    label: Path | None
    row: int | None = None

    @property
    def title(self) -> str:
        """Name of the case in findings: `ct_1001`, or `row 5 (ct_P03)`."""
        return self.name if self.row is None else f"row {self.row} ({self.name})"


@dataclass(frozen=True)
class CaseReport:
    """What reading one subject's files told.

    Attributes:
        problems: problems with the file that each concerns.
        digest: digest of the image's voxels.
        grid: grid of the image; None where it gives none.
        structures: abbreviations of the structures in the label map.
        is_settled: whether later stages can take the files as they are: at right angles, on one grid, whole values,
            nothing assumed.
        is_image_plain: whether the same holds of the image by itself.
    """

    problems: tuple[tuple[Path, ImageProblem], ...]
    digest: str
    grid: Grid | None = None
    structures: tuple[str, ...] = ()
    is_settled: bool = True
    is_image_plain: bool = True


@dataclass(frozen=True)
class CohortCheck:
    """What reading a whole cohort told.

    Attributes:
        findings: findings in the order of the checks.
        reports: reports by name of the case.
    """

    findings: list[CohortFinding]
    reports: dict[str, CaseReport]


@dataclass(frozen=True)
class Reading:
    """How the files of a cohort are read.

    Attributes:
        codes: meaning of the values of its label maps.
        read: reader of files that nobody vouches for; picklable.
        any_axes: whether a label map may have the axes of its image in another order or direction.
    """

    codes: LabelCodes = MMWHS
    read: Callable[[Path], UntrustedImage] = read_untrusted
    any_axes: bool = False


PUBLISHED = Reading()


def check_cases(
    cases: list[CaseFiles],
    known_as: Callable[[Path], str],
    reading: Reading = PUBLISHED,
    runtime: RuntimeConfig = ALL_CORES,
    *,
    needs_labels: bool = True,
) -> CohortCheck:
    """Read the files of all cases to their ends and list all that is wrong with them.

    Args:
        cases: cases with their files.
        known_as: tells how the user knows a file.
        reading: meaning of labels, and reader.
        runtime: section `runtime`.
        needs_labels: whether training images without label maps, and too few labelled subjects, are errors.
    """
    found = list(_set_problems(cases, needs_labels))
    same: dict[str, list[CaseFiles]] = {}
    reports: dict[str, CaseReport] = {}
    for case, report in _reports(cases, reading, runtime):
        reports[case.name] = report
        found += [(case.title, path, problem) for path, problem in report.problems]
        if report.digest:
            same.setdefault(report.digest, []).append(case)
    found += _twin_problems(same.values())
    findings = [
        CohortFinding(p.severity, title, known_as(path) if path else "", p.what, p.remedy)
        for title, path, p in found
    ]
    return CohortCheck(findings, reports)


def inspect_case(case: CaseFiles, reading: Reading = PUBLISHED) -> CaseReport:
    """Read the files of one subject; runs in worker processes."""
    how = (reading.codes, reading.read)
    image = inspect_file(case.image, "image", *how, case.modality) if case.image else Inspection(())
    label = inspect_file(case.label, "label", *how) if case.label else Inspection(())
    problems = [(case.image, problem) for problem in image.problems if case.image]
    problems += [(case.label, problem) for problem in label.problems if case.label]
    settled = image.is_plain and label.is_plain
    if case.label and image.grid and label.grid:
        turns = (
            reading.any_axes
            and label.says_orientation
            and all(np.linalg.matrix_rank(g.affine) == 4 for g in (image.grid, label.grid))
        )
        grid = reoriented_grid(label.grid, image.grid) if turns else label.grid
        found = grid_problems(image.grid, grid, says_orientation=label.says_orientation)
        problems += [(case.label, problem) for problem in found]
        settled = settled and np.array_equal(image.grid.affine, label.grid.affine)
    named = tuple((path, problem) for path, problem in problems if path)
    return CaseReport(named, image.digest, image.grid, label.structures, bool(settled), image.is_plain)


def file_bytes(path: Path) -> int:
    """Size of a file, or of the files of a folder, bytes; what cannot be asked counts as nothing, the check tells."""
    try:
        files = list(path.iterdir()) if path.is_dir() else [path]
    except OSError:
        return 0
    return sum(_size(file) for file in files)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _reports(
    cases: list[CaseFiles], reading: Reading, runtime: RuntimeConfig
) -> Iterator[tuple[CaseFiles, CaseReport]]:
    inspect = partial(inspect_case, reading=reading)
    files = [path for case in cases for path in (case.image, case.label) if path]
    num_bytes = sum(map(file_bytes, files))
    if num_bytes < SEQUENTIAL_BYTES:
        reports: Iterator[tuple[CaseFiles, CaseReport]] = ((case, inspect(case)) for case in cases)
    else:
        reports = run_cases(inspect, cases, Work("check", COST, files), runtime)
    return track(reports, "check", len(cases))


def _set_problems(cases: list[CaseFiles], needs_labels: bool) -> Iterator[CaseProblem]:
    """What is wrong with the set of files, whatever they hold."""
    for case in cases:
        if needs_labels and case.part == "train" and case.label is None:
            remedy = "add the label map, or take the image out"
            yield case.title, case.image, ImageProblem("error", "training image without label map", remedy)
        if case.image is None:
            remedy = "add the image, or take the label map out"
            yield case.title, case.label, ImageProblem("error", "label map without image", remedy)
    names = [case.name for case in cases]
    for name in sorted({name for name in names if names.count(name) > 1}):
        what = f"duplicate subject {name}: both a training and a test case"
        yield name, None, ImageProblem("error", what, "keep one of the two, or give one another number")
    if needs_labels:
        yield from _count_problems(cases)


def _count_problems(cases: list[CaseFiles]) -> Iterator[CaseProblem]:
    ct, mr = (sum(c.modality is m and bool(c.image and c.label) for c in cases) for m in Modality)
    what = f"modality count mismatch: {ct} labelled CT, {mr} labelled MR subjects"
    if min(ct, mr) < MIN_LABELLED:
        remedy = f"at least {MIN_LABELLED} of each are needed, to train, validate and test"
        yield "all", None, ImageProblem("error", what, remedy)
    elif ct != mr:
        remedy = "check that no case is lacking; CTs are paired with MRs in turn"
        yield "all", None, ImageProblem("warning", what, remedy)


def _twin_problems(groups: Iterable[list[CaseFiles]]) -> Iterator[CaseProblem]:
    """One scan under several names would bring a test subject into training."""
    for group in groups:
        first, *others = sorted(group, key=lambda case: case.name)
        for case in others:
            what = f"duplicate subject: the same voxels as the image of {first.title}"
            yield case.title, case.image, ImageProblem("error", what, "keep one of the two")
