"""What a cohort would be, told before anything runs: scans, pairs and roles, and all that is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.io.console import plain_table
from pipeline.cohort.guard import existing_path
from pipeline.cohort.integrity import CaseReport, CohortFinding, check_cases
from pipeline.cohort.mmwhs import lay_out_mmwhs, scan, subjects
from pipeline.cohort.own_data import check_own, is_own
from pipeline.cohort.pairs import Pair, Subject, make_pairs, unpaired
from pipeline.config.params import read_value, validate
from pipeline.config.sections import DataConfig, SplitConfig
from pipeline.runtime.work import work_folder
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig

SCAN_COLUMNS = ("subject", "patient", "voxels", "spacing, mm", "structures", "role")


@dataclass(frozen=True)
class Preview:
    """What a cohort would be.

    Attributes:
        subjects: subjects as the manifest would list them.
        reports: what reading their files told, by name.
        findings: all that is wrong, and all that should be known.
        pairs: pairs with their roles; none where something is wrong.
        meaning: label values by structure, in words.
        missing: abbreviations of the structures that the cohort does not delineate.
    """

    subjects: list[Subject]
    reports: Mapping[str, CaseReport]
    findings: list[CohortFinding]
    pairs: list[Pair]
    meaning: str
    missing: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The preview in plain text: scans, then counts, then pairs by role."""
        roles = {s.name: p.role for p in self.pairs for s in (p.ct, p.mr)}
        rows = [_row(subject, self.reports.get(subject.name), roles) for subject in self.subjects]
        num_same = sum(pair.is_one_patient for pair in self.pairs)
        text = [plain_table(SCAN_COLUMNS, rows)] if rows else []
        text.append(f"{len(rows)} scans of {len({s.person for s in self.subjects})} patients; {self.meaning}")
        if self.missing:
            text.append(f"not delineated, read as background and not scored: {', '.join(self.missing)}")
        if self.pairs:
            text.append(
                plain_table(("role", "pair"), [(pair.role, pair.name) for pair in _by_role(self.pairs)])
            )
            text.append(f"{len(self.pairs)} pairs, {num_same} of them the CT and MR of one patient")
        if self.pairs and (left := unpaired(self.subjects, self.pairs)):
            text.append(f"labelled, but in no pair: {', '.join(subject.name for subject in left)}")
        return text


def preview(params: DataConfig, split: SplitConfig, runtime: RuntimeConfig = ALL_CORES) -> Preview:
    """Read all files of a cohort to their ends and say what would become of them.

    A table and an nnU-Net folder are looked at where they lie. What is laid out as MM-WHS is collected into the work
    folder for as long as it is looked at, as archives must be.

    Args:
        params: section `data`, of a source that is not the phantom.
        split: section `split`.
        runtime: section `runtime`.

    Raises:
        DataError: nothing is there, or nothing that could be a cohort.
    """
    if params.source == "table":
        own = check_own(params, runtime)
        pairs, findings = _pairs(own.subjects(Path()), own.findings, split)
        return Preview(own.subjects(Path()), own.reports, findings, pairs, own.meaning, own.codes.missing)
    with TemporaryDirectory(dir=work_folder("data_check", "collected")) as folder:
        laid_out = lay_out_mmwhs(Path(folder), params)
        checked = check_cases(
            scan(Path(folder)), lambda file: laid_out.origins.get(file.name, file.name), runtime=runtime
        )
        people = subjects(Path(folder))
        pairs, findings = _pairs(people, [*laid_out.findings, *checked.findings], split)
        return Preview(people, checked.reports, findings, pairs, "label values: those of MM-WHS")


def params_for(
    path: str | None, labels: str | None, missing: list[str], *, read: dict[str, Any]
) -> DataConfig:
    """Make the section `data` of a look at a path.

    Args:
        path: CSV, folder or zip archive, of the source that it looks like; None for `data.path`.
        labels: `data.labels` as YAML; None for that of the section.
        missing: `data.missing`; empty for that of the section.
        read: section `data` as params.yaml has it.

    Raises:
        DataError: nothing is at the path.
        UsageError: nothing to look at, or values that cannot be meant.
    """
    values = dict(read)
    given = {"labels": read_value(labels) if labels else None, "missing": missing}
    if path is not None:
        own = is_own(existing_path(path, "PATH"))
        values |= {"path": path, "urls": [], "source": "table" if own else "mmwhs"}
        # What params.yaml says of a table is of no meaning for files that are called as in MM-WHS.
        values = {key: value for key, value in values.items() if own or key not in given}
    values |= {key: value for key, value in given.items() if value}
    params = validate(DataConfig, values, "data")
    if params.source == "phantom":
        raise UsageError(
            "data.source is phantom, which is made and not found: give a path, `crossmodalnet data check PATH`"
        )
    return params


def _pairs(
    people: list[Subject], findings: list[CohortFinding], split: SplitConfig
) -> tuple[list[Pair], list[CohortFinding]]:
    """Pair a sound cohort; what stands against it is a finding too."""
    if any(finding.severity == "error" for finding in findings):
        return [], findings
    try:
        return make_pairs(people, split), findings
    except DataError as error:
        remedy = "add scans, or change section split"
        return [], [*findings, CohortFinding("error", "all", "", str(error), remedy)]


def _row(subject: Subject, report: CaseReport | None, roles: Mapping[str, str]) -> tuple[str, ...]:
    grid = report.grid if report else None
    voxels = " x ".join(map(str, grid.shape)) if grid else ""
    spacing = " x ".join(f"{value:.2f}" for value in grid.spacing_mm) if grid else ""
    seen = report.structures if report else ()
    labelled = "all" if seen == ABBREVIATIONS else ", ".join(seen)
    role = roles.get(subject.name, subject.role or "")
    return (
        subject.name, subject.patient, voxels, spacing, labelled if subject.label else "no label map", role,
    )  # fmt: skip


def _by_role(pairs: list[Pair]) -> list[Pair]:
    order = ("train", "validation", "test")
    return sorted(pairs, key=lambda pair: (order.index(pair.role), pair.name))
