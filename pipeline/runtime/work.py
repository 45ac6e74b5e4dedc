"""Store resumable work outside DVC's outputs, keyed by a fingerprint of its inputs."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from crossmodalnet.io.outputs import file_digest
from pipeline.runtime.paths import TOP

PACKAGES = ("crossmodalnet/", "pipeline/", "stages/")


def work_folder(stage: str, key: str) -> Path:
    """Create the folder of a unit of work under `$DVC_ROOT`, so `--temp` and `--queue` runs resume too."""
    folder = Path(os.environ.get("DVC_ROOT", Path.cwd())) / ".work" / stage / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fingerprint(*parts: Any) -> str:
    """Hash parameters and inputs to 16 hex digits; a `Path` stands for its file's or folder's content."""
    return hashlib.sha256(json.dumps([_plain(part) for part in parts]).encode()).hexdigest()[:16]


def code_fingerprint(stage: str, model: str = "") -> str:
    """Hash the code that a stage of `dvc.yaml` depends on; `model` replaces `${item.model}` there."""
    stages = YAML(typ="safe", pure=True).load((TOP / "dvc.yaml").read_text("utf-8"))["stages"]
    deps = (dep.replace("${item.model}", model) for dep in stages[stage]["deps"])
    places = (TOP / dep for dep in deps if dep.startswith(PACKAGES))
    files = {file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))}
    return fingerprint([[str(file.relative_to(TOP)), file] for file in sorted(files)])


def _plain(part: Any) -> Any:
    if isinstance(part, Path):
        if part.is_dir():
            return [[str(p.relative_to(part)), file_digest(p)] for p in sorted(part.rglob("*")) if p.is_file()]
        return file_digest(part)
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    if isinstance(part, dict):
        return {str(key): _plain(value) for key, value in sorted(part.items())}
    if isinstance(part, list | tuple):
        return [_plain(value) for value in part]
    return part
