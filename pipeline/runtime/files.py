"""Read files of other stages; write files and folders that appear whole or not at all."""

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.runtime.errors import DataError, ResourceError


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `target`, replacing what was there, when the block ends well.

    It lies beside `target`, hidden from git. What a killed run left behind is removed by the next one.

    Raises:
        ResourceError: another process is filling it at this moment.
    """
    partial = _partial(target)
    with _held(partial, target):
        try:
            _put_back(partial, target)
            for left in ("new", "old"):
                shutil.rmtree(partial / left, ignore_errors=True)
            (partial / "new").mkdir()
            (partial / ".gitignore").write_text("*\n")
            yield partial / "new"
            if target.exists():
                target.rename(partial / "old")
            (partial / "new").rename(target)
        finally:
            _put_back(partial, target)
            shutil.rmtree(partial, ignore_errors=True)


def remove_partial(target: Path) -> None:
    """Remove what a killed process left beside `target`, unless another one is filling it at this moment."""
    partial = _partial(target)
    if partial.is_dir():
        with suppress(ResourceError), _held(partial, target):
            _put_back(partial, target)
            shutil.rmtree(partial, ignore_errors=True)


def _partial(target: Path) -> Path:
    return target.parent / f".{target.name}.partial"


def _put_back(partial: Path, target: Path) -> None:
    """Undo a replacement that was interrupted between its two renames."""
    if (partial / "old").exists() and not target.exists():
        (partial / "old").rename(target)


@contextmanager
def _held(partial: Path, target: Path) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process however it ends."""
    folder = _locked(partial, target)
    try:
        yield
    finally:
        os.close(folder)


def _locked(partial: Path, target: Path) -> int:
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        try:
            folder = os.open(partial, os.O_RDONLY)
        except FileNotFoundError:  # removed in between by the run that has just ended
            continue
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(folder)
            raise ResourceError(
                f"{target} is being written by another run: wait until it has ended"
            ) from error
        if _is_at(folder, partial):
            return folder
        os.close(folder)


def _is_at(folder: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(folder), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; it becomes `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes, of two machines perhaps, may write the same file: each has a temporary name of its own.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON under a temporary name and rename it.

    Raises:
        ValueError: a number is not finite; DVC would report a change in every comparison.
    """
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def existing(path: Path, stage: str) -> Path:
    """Check that a file is there.

    Args:
        path: path of the file.
        stage: stage that makes the file; empty for a file of the user's.

    Raises:
        DataError: it is not.
    """
    if not path.is_file():
        raise DataError(f"{path} not found: " + (f"run `dvc repro {stage}`" if stage else "run from the top"))
    return path


def read_table(path: Path, stage: str, columns: Sequence[str], *, may_be_empty: bool = False) -> pd.DataFrame:
    """Read a CSV file that must have `columns` and, unless it may be empty, a row.

    Raises:
        DataError: it is missing or malformed.
    """
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
    """Read a JSON object.

    Raises:
        DataError: it is missing, or something else.
    """
    content = _read_json(path, stage)
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object: {_again(stage)}")
    return content


def read_objects(path: Path, stage: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Read a JSON list of objects that have `keys`.

    Raises:
        DataError: it is missing, or something else.
    """
    content = _read_json(path, stage)
    if not isinstance(content, list) or any(
        not isinstance(item, dict) or set(keys) - set(item) for item in content
    ):
        raise DataError(f"{path} must hold a list of objects with {', '.join(keys)}: {_again(stage)}")
    return content


def _read_json(path: Path, stage: str) -> Any:
    try:
        return json.loads(existing(path, stage).read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): {_again(stage)}") from error


def _again(stage: str) -> str:
    return f"run `dvc repro --force {stage}`"
