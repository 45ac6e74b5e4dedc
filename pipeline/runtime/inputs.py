"""Read the files of other stages."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodalnet.errors import DataError


def existing(path: Path, stage: str) -> Path:
    """Return `path`; if missing, raise DataError that names the `stage` making it (empty: a user file)."""
    if not path.is_file():
        raise DataError(f"{path} not found: " + (f"run `dvc repro {stage}`" if stage else "run from the top"))
    return path


def read_table(path: Path, stage: str, columns: Sequence[str], *, may_be_empty: bool = False) -> pd.DataFrame:
    """Read a CSV file with `columns` and, unless `may_be_empty`, a row; raise DataError if it is malformed."""
    try:
        table = pd.read_csv(existing(path, stage))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table ({error}): {_again(stage)}") from error
    if missing := [column for column in columns if column not in table]:
        raise DataError(f"{path} lacks {', '.join(missing)}: {_again(stage)}")
    if table.empty and not may_be_empty:
        raise DataError(f"{path} has no rows: {_again(stage)}")
    return table


def read_object(path: Path, stage: str) -> dict[str, Any]:
    """Read a JSON object; raise DataError if it is missing or malformed."""
    content = _read_json(path, stage)
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object: {_again(stage)}")
    return content


def read_objects(path: Path, stage: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Read a JSON list of objects with `keys`; raise DataError if it is missing or malformed."""
    content = _read_json(path, stage)
    if not isinstance(content, list) or any(not isinstance(item, dict) or set(keys) - set(item) for item in content):
        raise DataError(f"{path} must hold a list of objects with {', '.join(keys)}: {_again(stage)}")
    return content


def _read_json(path: Path, stage: str) -> Any:
    try:
        return json.loads(existing(path, stage).read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): {_again(stage)}") from error


def _again(stage: str) -> str:
    return f"run `dvc repro --force {stage}`"
