"""Preview a cohort before anything runs: scans, pairs, roles and every finding."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.anatomy import PLAUSIBLE_ML
from crossmodalnet.imaging.codes import MMWHS, LabelCodes, whole_values
from crossmodalnet.imaging.inspect import Finding, Inspection
from crossmodalnet.imaging.read import read_scan
from crossmodalnet.imaging.structures import ABBREVIATIONS, STRUCTURES, Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.preview import preview as draw
from crossmodalnet.io.console import count, plain_table, wrapped
from crossmodalnet.roi.box import box_of
from pipeline.cohort.guard import existing_path
from pipeline.cohort.integrity import Reports, Scan, check_scans
from pipeline.cohort.mmwhs import lay_out_mmwhs, scans_in
from pipeline.cohort.mmwhs import subjects_of as subjects_of_mmwhs
from pipeline.cohort.own_data import check_own, is_own, subjects_of
from pipeline.cohort.pairs import ROLES, Pair, Subject, make_pairs, unpaired
from pipeline.config.params import read_value, validate
from pipeline.config.sections import DataConfig, SplitConfig
from pipeline.runtime.paths import PARAMS
from pipeline.runtime.work import work_folder
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig

# Scans with findings in the picture.
MAX_DRAWN = 4


def preview(
    params: DataConfig, split: SplitConfig, runtime: RuntimeConfig = ALL_CORES
) -> tuple[list[str], list[Finding]]:
    """Read all files of a cohort to their ends; return the text of the preview and all findings."""
    (work_folder("data_check", "picture") / "labels.png").unlink(missing_ok=True)
    if params.source == "table":
        table, reports = check_own(params, runtime)
        subjects, findings, codes = subjects_of(table, Path()), table.findings, table.codes
        picture = _draw(table.scans, reports, codes, findings)
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
            picture = _draw(scans, reports, codes, findings)
    try:
        pairs = [] if any(finding.severity == "error" for finding in findings) else make_pairs(subjects, split)
    except DataError as error:
        findings.append(Finding("error", str(error), "add scans, or change section split", "all"))
    if any(finding.severity == "error" for finding in findings):
        return picture, findings
    text = [_scan_table(subjects, reports, pairs), _volume_table(reports, codes)]
    num_people = len({subject.person for subject in subjects})
    text += wrapped(f"{count(len(subjects), 'scan')} of {count(num_people, 'patient')}; {codes.meaning}")
    if codes.missing:
        text += wrapped(f"not delineated, read as background and not scored: {', '.join(codes.missing)}")
    return text + _pair_lines(subjects, pairs) + picture, findings


def _volume_table(reports: Reports, codes: LabelCodes) -> str:
    """Compare the volumes of the structures with those of hearts."""
    rows = []
    for structure in STRUCTURES:
        name, (low, high) = structure.abbreviation, PLAUSIBLE_ML[structure.abbreviation]
        volumes = [label.volumes_ml[name] for _, label in reports.values() if name in label.volumes_ml]
        if volumes:
            values = "/".join(map(str, codes.codes[name]))
            spread = f"{min(volumes):.1f} to {max(volumes):.1f}"
            median = f"{np.median(volumes):.1f}"
            rows.append((name, values, str(len(volumes)), median, spread, f"{low} to {high}"))
    return plain_table(("structure", "value", "scans", "median, mL", "range", "plausible"), rows)


def _draw(scans: Sequence[Scan], reports: Reports, codes: LabelCodes, findings: Sequence[Finding]) -> list[str]:
    """Draw the structures as the values are read now: those with findings first, both modalities; return the path."""
    cases = {finding.case for finding in findings}
    sound = [scan for scan in scans if scan.name in reports and _can_be_drawn(*reports[scan.name])]
    chosen = [scan for scan in sound if scan.title in cases][:MAX_DRAWN]
    for modality in Modality:
        if modality not in {scan.modality for scan in chosen}:
            own, patients = [scan for scan in sound if scan.modality is modality], {scan.patient for scan in chosen}
            chosen += sorted(own, key=lambda scan: (scan.title not in cases, scan.patient not in patients))[:1]
    pictures = []
    for scan in chosen:
        volume, values = (read_scan(path).volume() for path in (scan.image, scan.label) if path)
        labels = Volume(codes.known_indices(whole_values(values.data)), values.affine)
        picture = draw(volume, labels, scan.modality, box_of(labels), codes.codes)
        ImageDraw.Draw(picture).text((12, 26), scan.name, "yellow", ImageFont.load_default(16))
        pictures.append(picture)
    if not pictures:
        return []
    page = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)))
    for number, picture in enumerate(pictures):
        page.paste(picture, (0, sum(p.height for p in pictures[:number])))
    path = work_folder("data_check", "picture") / "labels.png"
    page.save(path)
    return wrapped(f"picture of the labels of {', '.join(scan.name for scan in chosen)}: {os.path.relpath(path)}")


def _can_be_drawn(image: Inspection, label: Inspection) -> bool:
    faulty = [f for f in (*image.findings, *label.findings) if f.severity == "error" and "label" not in f.what]
    return bool(image.grid and label.grid and label.volumes_ml and not faulty)


def _scan_table(subjects: list[Subject], reports: Reports, pairs: list[Pair]) -> str:
    """List the scans; the column of patients is left out where the scans' names say them."""
    roles = {subject.name: pair.role for pair in pairs for subject in (pair.ct, pair.mr)}
    rows = []
    for subject in subjects:
        image, label = reports.get(subject.name, (None, None))
        grid = image.grid if image else None
        structures = tuple(label.volumes_ml) if label else ()
        listed = "all" if structures == ABBREVIATIONS else ", ".join(structures)
        spacings = [f"{value:.2f}" for value in grid.spacing_mm] if grid else []
        row = {
            "subject": subject.name,
            "patient": subject.patient,
            "voxels": " x ".join(map(str, grid.shape)) if grid else "",
            "spacing, mm": " x ".join(spacings if len(set(spacings)) > 1 else spacings[:1]),
            "structures": listed if subject.label else "no label map",
            "role": roles.get(subject.name, subject.role or ""),
        }
        rows.append(row)
    shown = [name for name in rows[0] if name != "patient" or not all(r[name] in r["subject"] for r in rows)]
    return plain_table(shown, [[row[name] for name in shown] for row in rows])


def _pair_lines(subjects: list[Subject], pairs: list[Pair]) -> list[str]:
    if not pairs:
        return []
    rows = sorted(((pair.role, pair.name) for pair in pairs), key=lambda row: (ROLES.index(row[0]), row[1]))
    num_same = sum(pair.is_one_patient for pair in pairs)
    lines = [
        plain_table(("role", "pair"), rows),
        f"{count(len(pairs), 'pair')}, {num_same} of them the CT and MR of one patient",
    ]
    if left := unpaired(subjects, pairs):
        lines.append(f"labelled, but in no pair: {', '.join(subject.name for subject in left)}")
    return lines


def params_for(path: str | None, labels: str | None, missing: list[str], *, section: dict[str, Any]) -> DataConfig:
    """Make the section `data` for a preview: that of params.yaml (`section`), but for what is given."""
    values = dict(section)
    given = {"labels": read_value(labels) if labels else None, "missing": missing}
    if path is not None:
        own = is_own(existing_path(path, "PATH"))
        values |= {"path": path, "urls": [], "source": "table" if own else "mmwhs"}
        # `labels` and `missing` apply to tables only.
        values = {key: value for key, value in values.items() if own or key not in given}
    values |= {key: value for key, value in given.items() if value}
    params = validate(DataConfig, values, "data", "your options" if labels or missing else PARAMS)
    if params.source == "phantom":
        raise UsageError(
            "data.source is phantom, which is made and not found: give a path, `crossmodalnet data check PATH`"
        )
    return params
