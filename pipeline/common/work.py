"""Resumable work: a folder outside DVC's outputs, keyed by a fingerprint of all that matters."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.common.imports import TOP, closure


def work_folder(stage: str, key: str) -> Path:
    """Give the folder of one piece of resumable work, created if need be.

    It lies under `$DVC_ROOT`, which DVC sets to the parent repository in `--temp` and `--queue` runs, so a crashed run
    resumes there too.
    """
    folder = Path(os.environ.get("DVC_ROOT", Path.cwd())) / ".work" / stage / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fingerprint(*parts: Any) -> str:
    """Digest parameters and inputs into 16 hexadecimal digits.

    A `Path` stands for the content of that file, or of all files below that folder; models, mappings, sequences,
    numbers and strings stand for themselves.
    """
    return hashlib.sha256(json.dumps([_plain(part) for part in parts]).encode()).hexdigest()[:16]


def code_fingerprint(*modules: str) -> str:
    """Digest the source of `modules` and of all they import from this project."""
    return fingerprint([TOP / path for path in closure(*modules)])


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(part: Any) -> Any:
    if isinstance(part, Path):
        if part.is_dir():
            return [
                [str(p.relative_to(part)), file_digest(p)] for p in sorted(part.rglob("*")) if p.is_file()
            ]
        return file_digest(part)
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    if isinstance(part, dict):
        return {str(key): _plain(value) for key, value in sorted(part.items())}
    if isinstance(part, list | tuple):
        return [_plain(value) for value in part]
    return part
