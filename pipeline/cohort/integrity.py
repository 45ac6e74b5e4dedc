"""Check the files of a cohort and list every finding."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from crossmodalnet.errors import DataError
from crossmodalnet.imaging import inspect
from crossmodalnet.imaging.anatomy import COARSE, misfit
from crossmodalnet.imaging.codes import MMWHS, LabelCodes, whole_values
from crossmodalnet.imaging.geometry import SMALLEST_HEART_MM, reoriented, reoriented_grid
from crossmodalnet.imaging.inspect import NOTHING, Finding, Inspection, grid_findings, inspect_file
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.untrusted import UntrustedImage, read_untrusted
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.io.console import count, track, wrapped
from pipeline.cohort.pairs import Role
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

R = TypeVar("R")
logger = logging.getLogger(__name__)

# Smaller cohorts are read faster than worker processes start.
SEQUENTIAL_BYTES = 2**26
# Measured (docs/clusters.md).
COST = CaseCost(base_mb=150, bytes_per_voxel=4)
MIN_LABELLED = 3
# Findings on the table explain those on its rows; those on the whole cohort often follow from them.
GENERAL = {"table": 0, "row 1": 0, "all": 2}
MAX_NAMED = 8
# Kinds that are the whole cohort's where so large a share of its label maps have them, and the remedy.
SYSTEMATIC = {
    inspect.EXCHANGED: (1.0, "exchange the values of these two in data.labels"),
    inspect.MISPLACED: (0.8, "mend what wrote the label maps or their headers, and write all of them again"),
}
MISFIT_REMEDY = (
    "look at the picture of `crossmodalnet data check`; name the label map of this scan, or mend origin and axes in "
    "the header of the wrong file"
)


@dataclass(frozen=True)
class Scan:
    """Files of one scan before they are checked; no `image`: a label map alone; no `role`: the split decides."""

    name: str
    modality: Modality
    image: Path | None
    label: Path | None
    needs_label: bool = False
    patient: str = ""
    role: Role | None = None
    row: int | None = None

    @property
    def title(self) -> str:
        """Name in findings: `ct_1001`, or `row 5 (ct_P03)`."""
        return self.name if self.row is None else f"row {self.row} ({self.name})"


# Inspections of image and label map by scan.
Reports = dict[str, tuple[Inspection, Inspection]]


def require_sound(findings: list[Finding]) -> None:
    """Log warnings, or raise DataError with all findings if one is an error."""
    # CT and MR may share a label map.
    findings = list({(f.severity, f.file or f.case, f.what): f for f in reversed(findings)}.values())
    num_errors = sum(finding.severity == "error" for finding in findings)
    summary = f"integrity check: {count(num_errors, 'error')}, {count(len(findings) - num_errors, 'warning')}"
    if num_errors:
        raise DataError(f"{summary}\n{table(findings)}")
    if findings:
        logger.warning("%s\n%s", summary, table(findings))
    else:
        logger.info("%s", summary)


def table(findings: list[Finding]) -> str:
    """Render findings as wrapped text: errors first, the likely cause first, and repeated findings once."""
    groups: dict[tuple[str, str, str, bool], list[Finding]] = {}
    for finding in sorted(findings, key=lambda f: (_natural(f.case), f.file, f.what)):
        is_general = finding.case in GENERAL
        what = finding.kind or _alike(finding.what)
        key = (finding.severity, what, _alike(finding.remedy), is_general and not finding.file)
        groups.setdefault(key, []).append(finding)
    ordered = sorted(groups.values(), key=lambda g: (g[0].severity, GENERAL.get(g[0].case, 1), -len(g)))
    return "\n".join(line for group in ordered for line in _lines(group))


def _alike(text: str) -> str:
    """Remove what differs between repetitions of a finding without kind: numbers and quoted names."""
    return re.sub(r"#(?:, #)+", "#", re.sub(r"\d+(?:\.\d+)?|'[^']*'", "#", text))


def _lines(group: list[Finding]) -> list[str]:
    """Describe findings that are alike: count, place and text of the first, the remedy, other places."""
    first, *others = group
    times = f" x{len(group)}" if others else ""
    place = ", ".join(filter(None, (first.case, first.file)))
    texts = [f"{first.severity}{times} {place}: {first.what}", f"-> {first.remedy}"]
    if others:
        places = list(dict.fromkeys(other.file or other.case for other in others))
        named = places if places != [first.file or first.case] else [other.what for other in others]
        more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        texts.append(f"also {', '.join(named[:MAX_NAMED])}{more}")
    return [line for text in texts for line in wrapped(printable(text), "    " * (text is not texts[0]))]


def printable(text: str) -> str:
    r"""Escape characters that could move the cursor, hide text or reverse it.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _natural(text: str) -> list[str | int]:
    """Return a key that sorts `row 10` after `row 9`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def check_scans(
    scans: list[Scan],
    known_as: Callable[[Path], str],
    codes: LabelCodes = MMWHS,
    read: Callable[[Path], UntrustedImage] = read_untrusted,
    runtime: RuntimeConfig = ALL_CORES,
    *,
    any_axes: bool = False,
    needs_labels: bool = True,
) -> tuple[list[Finding], Reports]:
    """Read the files of all scans to their ends and list every fault.

    `known_as` returns the path of a file as the user knows it. `any_axes` accepts label maps whose axes differ in order
    or direction from the image's. `needs_labels` makes missing label maps, and too few labelled subjects, errors.
    """
    findings = list(_set_findings(scans, known_as, needs_labels))
    reports: Reports = {}
    same: dict[str, list[Scan]] = {}
    inspect_one = partial(inspect_scan, codes=codes, read=read, any_axes=any_axes)
    for scan, report in each_scan(inspect_one, scans, "check", runtime):
        reports[scan.name] = report
        for path, inspection in zip((scan.image, scan.label), report, strict=True):
            file = known_as(path) if path else ""
            findings += [replace(finding, case=scan.title, file=file) for finding in inspection.findings]
        if digest := report[0].digest:
            same.setdefault(digest, []).append(scan)
    findings = _systematic(_exchanged_modalities(findings, scans), reports)
    return [*findings, *_twin_findings(same.values(), known_as), *_same_scans(scans, reports, known_as)], reports


def _same_scans(scans: list[Scan], reports: Reports, known_as: Callable[[Path], str]) -> Iterator[Finding]:
    """List patients whose CT and MR differ by a constant or a factor at most; exact copies are listed as duplicates."""
    cts = {scan.patient: reports[scan.name][0] for scan in scans if scan.patient and scan.modality is Modality.CT}
    for scan in scans:
        ct, mr = cts.get(scan.patient), reports[scan.name][0]
        if ct and scan.modality is Modality.MR and ct.digest != mr.digest and inspect.same_scan(ct.coarse, mr.coarse):
            what = "the MR is the CT, but for a constant or a factor"
            yield Finding("error", what, "give the MR", scan.title, known_as(scan.image) if scan.image else "")


def _exchanged_modalities(findings: list[Finding], scans: list[Scan]) -> list[Finding]:
    """Replace the findings on a patient's CT and MR that each look like the other, and on a cohort of such scans."""
    odd = {finding.case for finding in findings if finding.kind == inspect.OTHER_MODALITY}
    what, remedy = "CT and MR seem to be exchanged", "exchange them in the column modality, or the channels' names"
    if odd and all(scan.title in odd for scan in scans) and len({scan.modality for scan in scans}) > 1:
        exchanged, new = odd, [Finding("error", f"{what} in all scans", remedy, "table")]
    else:
        num_odd = Counter(scan.patient for scan in scans if scan.patient and scan.title in odd)
        both = [scan for scan in scans if num_odd[scan.patient] > 1]
        exchanged = {scan.title for scan in both}
        new = [Finding("warning", what, remedy, scan.title) for scan in both if scan.modality is Modality.CT]
    return [f for f in findings if f.case not in exchanged or f.kind != inspect.OTHER_MODALITY] + new


def _systematic(findings: list[Finding], reports: Reports) -> list[Finding]:
    """Name label maps coded unlike most; make one error of all with two structures exchanged, or most misplaced."""
    odd = [finding for finding in findings if finding.kind == inspect.UNKNOWN_CODES]
    read = [label for _, label in reports.values() if label.volumes_ml]
    num_right = sum(all(finding.kind != inspect.UNKNOWN_CODES for finding in label.findings) for label in read)
    if len(odd) < num_right:
        remedy = f"write this label map with the values of the other {num_right}, for which data.labels is right"
        findings = [replace(f, remedy=remedy) if f in odd and "data.labels" in f.remedy else f for f in findings]
    num = len(read)
    for kind in {finding.kind for finding in findings if finding.kind.startswith(tuple(SYSTEMATIC))}:
        alike = [finding for finding in findings if finding.kind == kind]
        share, remedy = SYSTEMATIC[kind.partition(" ")[0]]
        if len(alike) >= max(MIN_LABELLED, share * num):
            error = Finding("error", f"in {len(alike)} of {num} label maps: {alike[0].what}", remedy, "table")
            findings = [*(finding for finding in findings if finding not in alike), error]
    return findings


def each_scan(
    function: Callable[[Scan], R], scans: list[Scan], verb: str, runtime: RuntimeConfig
) -> Iterator[tuple[Scan, R]]:
    """Apply a picklable function to every scan; large files go to worker processes."""
    files = [path for scan in scans for path in (scan.image, scan.label) if path]
    results: Iterator[tuple[Scan, R]]
    if sum(map(_num_bytes, files)) < SEQUENTIAL_BYTES:
        results = ((scan, function(scan)) for scan in scans)
    else:
        results = run_cases(function, scans, Work(verb, COST, files), runtime)
    return track(results, verb, len(scans))


def inspect_scan(
    scan: Scan,
    codes: LabelCodes = MMWHS,
    read: Callable[[Path], UntrustedImage] = read_untrusted,
    *,
    any_axes: bool = False,
) -> tuple[Inspection, Inspection]:
    """Inspect the image and label map of one scan; runs in worker processes."""
    image = inspect_file(scan.image, "image", codes, read, scan.modality) if scan.image else Inspection()
    label = inspect_file(scan.label, "label", codes, read) if scan.label else Inspection()
    if {inspect.FEW_LEVELS, inspect.UNKNOWN_CODES} <= {finding.kind for finding in (*image.findings, *label.findings)}:
        exchanged = Finding("error", "image and label map seem to be exchanged", "exchange the two files")
        return replace(image, findings=[exchanged]), replace(label, findings=[])
    thin = image.coarse[::4, ::4, ::4]
    if image.grid is None or label.grid is None:
        return replace(image, coarse=thin), label
    grids = image.grid, label.grid
    turns = any_axes and label.says_orientation and all(np.linalg.matrix_rank(g.affine) == 4 for g in grids)
    on_axes = reoriented_grid(label.grid, image.grid) if turns else label.grid
    findings = grid_findings(image.grid, on_axes, says_orientation=label.says_orientation)
    size_mm = np.multiply(image.grid.shape, image.grid.spacing_mm)
    is_whole = not any(finding.severity == "error" for finding in label.findings)
    if is_whole and {"LV", "Myo"} <= label.volumes_ml.keys() and size_mm.min() >= SMALLEST_HEART_MM:
        values = Volume(codes.known_indices(whole_values(label.coarse)), label.grid.affine)
        indices = reoriented(values, image.grid).data if turns else values.data
        coarse = image.grid.affine @ np.diag([*(-(-n // COARSE) for n in image.grid.shape), 1])
        if indices.shape == image.coarse.shape and (how := misfit(image.coarse, indices, coarse)):
            kind = inspect.MISPLACED if "seems" in how else how
            findings.append(Finding("warning", f"label map {how}", MISFIT_REMEDY, kind=kind))
    return replace(image, coarse=thin), replace(label, coarse=NOTHING, findings=[*label.findings, *findings])


def is_settled(report: tuple[Inspection, Inspection]) -> bool:
    """Check whether later stages can use both files unchanged."""
    image, label = report
    same_grid = not image.grid or not label.grid or np.array_equal(image.grid.affine, label.grid.affine)
    return image.is_plain and label.is_plain and same_grid


def _num_bytes(path: Path) -> int:
    """Return the size of a file or folder; unreadable files count 0."""
    try:
        if path.is_dir():
            return sum(map(_num_bytes, path.iterdir()))
        return path.stat().st_size
    except OSError:
        return 0


def _set_findings(scans: list[Scan], known_as: Callable[[Path], str], needs_labels: bool) -> Iterator[Finding]:
    """List missing, orphaned and duplicate files."""
    for scan in scans:
        if needs_labels and scan.needs_label and scan.image and not scan.label:
            remedy = "add the label map, or take the image out"
            what = "training image without label map"
            yield Finding("error", what, remedy, scan.title, known_as(scan.image))
        if scan.label and not scan.image:
            remedy = "add the image, or take the label map out"
            yield Finding("error", "label map without image", remedy, scan.title, known_as(scan.label))
    names = [scan.name for scan in scans]
    for name in sorted({name for name in names if names.count(name) > 1}):
        what = f"duplicate subject {name}: both a training and a test case"
        yield Finding("error", what, "keep one of the two, or give one another number", name)
    ct, mr = (sum(s.modality is m and bool(s.image and s.label) for s in scans) for m in Modality)
    what = f"modality count mismatch: {ct} labelled CT, {mr} labelled MR subjects"
    if needs_labels and not ct + mr:
        remedy = "give their paths: in the column label of a table, as ..._label.nii.gz or in labelsTr of a folder"
        yield Finding("error", "no scan has a label map", remedy, "all")
    elif needs_labels and min(ct, mr) < MIN_LABELLED:
        remedy = f"at least {MIN_LABELLED} of each are needed, to train, validate and test"
        yield Finding("error", what, remedy, "all")
    elif needs_labels and ct != mr:
        remedy = "add the missing scans; if there are none, leave it so: an MR may be in several pairs, or in none"
        yield Finding("warning", what, remedy, "all")


def _twin_findings(groups: Iterable[list[Scan]], known_as: Callable[[Path], str]) -> Iterator[Finding]:
    """List scans with identical voxels: they would leak test subjects into training."""
    for group in groups:
        first, *others = sorted(group, key=lambda scan: scan.name)
        for scan in others:
            what = f"duplicate subject: the same voxels as the image of {first.title}"
            file = known_as(scan.image) if scan.image else ""
            yield Finding("error", what, "keep one of the two", scan.title, file, f"copy of {first.name}")
