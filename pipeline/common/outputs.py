"""Outputs that appear whole or not at all."""

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `target`, replacing what was there, when the block ends well.

    It lies beside `target`, hidden from git. What a killed run left behind is removed by the next one.
    """
    partial = target.parent / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "new").mkdir(parents=True)
    (partial / ".gitignore").write_text("*\n")
    try:
        yield partial / "new"
        if target.exists():
            target.rename(partial / "old")
        (partial / "new").rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON under a temporary name and rename it.

    Raises:
        ValueError: a number is not finite; DVC would report a change in every comparison.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes, of two machines perhaps, may write the same file: each has a temporary name of its own.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.partial")
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    temporary.replace(path)
