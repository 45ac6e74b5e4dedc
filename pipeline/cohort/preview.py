"""Preview a cohort before anything runs: scans, pairs, roles and every finding."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.codes import MMWHS
from crossmodalnet.imaging.inspect import Finding
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.io.console import plain_table
from pipeline.cohort.guard import existing_path
from pipeline.cohort.integrity import Reports, check_scans
from pipeline.cohort.mmwhs import lay_out_mmwhs, scans_in
from pipeline.cohort.mmwhs import subjects_of as subjects_of_mmwhs
from pipeline.cohort.own_data import check_own, is_own, subjects_of
from pipeline.cohort.pairs import ROLES, Pair, Subject, make_pairs, unpaired
from pipeline.config.params import read_value, validate
from pipeline.config.sections import DataConfig, SplitConfig
from pipeline.runtime.work import work_folder
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig


def preview(
    params: DataConfig, split: SplitConfig, runtime: RuntimeConfig = ALL_CORES
) -> tuple[list[str], list[Finding]]:
    """Read all files of a cohort to their ends; return the text of the preview and all findings."""
    if params.source == "table":
        table, reports = check_own(params, runtime)
        subjects, findings, codes = subjects_of(table, Path()), table.findings, table.codes
    else:
        codes = MMWHS
        with TemporaryDirectory(dir=work_folder("data_check", "collected")) as name:
            origins, findings = lay_out_mmwhs(Path(name), params)
            scans = scans_in(Path(name))
            check_findings, reports = check_scans(
                scans, lambda path: origins.get(path.name, path.name), runtime=runtime
            )
            findings += check_findings
            subjects = subjects_of_mmwhs(scans)
    pairs: list[Pair] = []
    if not any(finding.severity == "error" for finding in findings):
        try:
            pairs = make_pairs(subjects, split)
        except DataError as error:
            findings.append(Finding("error", str(error), "add scans, or change section split", "all"))
    text = [_scan_table(subjects, reports, pairs)] if subjects else []
    num_people = len({subject.person for subject in subjects})
    text.append(f"{len(subjects)} scans of {num_people} patients; {codes.meaning}")
    if codes.missing:
        text.append(f"not delineated, read as background and not scored: {', '.join(codes.missing)}")
    return text + _pair_lines(subjects, pairs), findings


def _scan_table(subjects: list[Subject], reports: Reports, pairs: list[Pair]) -> str:
    roles = {subject.name: pair.role for pair in pairs for subject in (pair.ct, pair.mr)}
    rows = []
    for subject in subjects:
        image, label = reports.get(subject.name, (None, None))
        grid = image.grid if image else None
        structures = label.structures if label else ()
        listed = "all" if structures == ABBREVIATIONS else ", ".join(structures)
        rows.append(
            (
                subject.name,
                subject.patient,
                " x ".join(map(str, grid.shape)) if grid else "",
                " x ".join(f"{value:.2f}" for value in grid.spacing_mm) if grid else "",
                listed if subject.label else "no label map",
                roles.get(subject.name, subject.role or ""),
            )
        )
    return plain_table(("subject", "patient", "voxels", "spacing, mm", "structures", "role"), rows)


def _pair_lines(subjects: list[Subject], pairs: list[Pair]) -> list[str]:
    if not pairs:
        return []
    rows = sorted(((pair.role, pair.name) for pair in pairs), key=lambda row: (ROLES.index(row[0]), row[1]))
    num_same = sum(pair.is_one_patient for pair in pairs)
    lines = [
        plain_table(("role", "pair"), rows),
        f"{len(pairs)} pairs, {num_same} of them the CT and MR of one patient",
    ]
    if left := unpaired(subjects, pairs):
        lines.append(f"labelled, but in no pair: {', '.join(subject.name for subject in left)}")
    return lines


def params_for(
    path: str | None, labels: str | None, missing: list[str], *, section: dict[str, Any]
) -> DataConfig:
    """Make the section `data` for a preview of a path.

    Args:
        path: CSV, folder or zip archive; None for `data.path`.
        labels: YAML; None for `labels` of the section.
        missing: empty for `missing` of the section.
        section: section `data` of params.yaml.

    Raises:
        UsageError: the source is the phantom.
    """
    values = dict(section)
    given = {"labels": read_value(labels) if labels else None, "missing": missing}
    if path is not None:
        own = is_own(existing_path(path, "PATH"))
        values |= {"path": path, "urls": [], "source": "table" if own else "mmwhs"}
        # `labels` and `missing` apply to tables only.
        values = {key: value for key, value in values.items() if own or key not in given}
    values |= {key: value for key, value in given.items() if value}
    params = validate(DataConfig, values, "data")
    if params.source == "phantom":
        raise UsageError(
            "data.source is phantom, which is made and not found: give a path, `crossmodalnet data check PATH`"
        )
    return params
