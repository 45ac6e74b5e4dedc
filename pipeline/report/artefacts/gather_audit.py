"""Reading what stage `audit` wrote: findings in the order of the statements, and the tables that there are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodalnet.errors import DataError
from crossmodalnet.theory.findings import StatementFinding, Verdict
from crossmodalnet.theory.statements import STATEMENTS
from pipeline.report.artefacts.audit_records import NUMBER, TABLES, TEXT, AuditRecord, Tables
from pipeline.runtime import paths
from pipeline.runtime.inputs import read_object, read_table

STAGE = "audit"


def read_audit(model: str, top: Path) -> AuditRecord:
    """Read the audit of a model.

    Raises:
        DataError: its findings are missing, a statement lacks a finding, or a file is malformed.
    """
    folder = top / paths.AUDIT / model
    path = folder / "findings.json"
    content = read_object(path, STAGE)
    try:
        if content["model"] != model:
            raise ValueError(f"is of model {content['model']}")
        found = {finding.key: finding for finding in map(_finding, content["findings"])}
        if absent := [key for key in STATEMENTS if key not in found]:
            raise ValueError(f"lacks statements {', '.join(absent)}")
        findings = {key: found[key] for key in STATEMENTS}
        return AuditRecord(model, int(content["seed"]), findings, _read_tables(folder))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problem = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} {problem}: {_again()}") from error


def _finding(entry: Mapping[str, Any]) -> StatementFinding:
    key, verdict = str(entry["key"]), str(entry["verdict"])
    if key not in STATEMENTS:
        raise ValueError(f"has an unknown statement {key}")
    if verdict not in list(Verdict):
        raise ValueError(f"has an unknown verdict {verdict} of {key}")
    numbers = {str(name): float(value) for name, value in entry.get("numbers", {}).items()}
    breaks, counterexample = (str(entry.get(part, "")) for part in ("breaks", "counterexample"))
    return StatementFinding(key, Verdict(verdict), str(entry["why"]), numbers, breaks, counterexample)


def _read_tables(folder: Path) -> Tables:
    paths_of = {name: folder / f"{name}.csv" for name in TABLES}
    tables = {name: _read(path, TABLES[name]) for name, path in paths_of.items() if path.is_file()}
    return {name: table for name, table in tables.items() if not table.empty}


def _read(path: Path, columns: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    table = read_table(path, STAGE, list(columns), may_be_empty=True)
    for name, kind in columns.items():
        column = table[name]
        if kind == NUMBER:
            if not pd.api.types.is_numeric_dtype(column) and not table.empty:
                raise DataError(f"{path}: {name} must be numbers: {_again()}")
        elif kind == TEXT:
            table[name] = column.astype(str)
        elif unknown := sorted({str(word) for word in column} - set(kind)):
            raise DataError(f"{path}: unknown {name} {', '.join(unknown)}: {_again()}")
    return table


def _again() -> str:
    return f"run `dvc repro --force {STAGE}`"
