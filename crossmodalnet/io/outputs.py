"""Write files and folders atomically."""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from crossmodalnet.errors import ResourceError


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `target` if the block succeeds; hidden from git.

    The next run removes remains of a killed one. ResourceError if another process is writing `target`.
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
    """Remove what a killed process left beside `target`, unless another process is writing it."""
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


def _held(partial: Path, target: Path) -> AbstractContextManager[None]:
    return locked(partial / "lock", f"{target} is being written by another run: wait until it has ended")


@contextmanager
def locked(file: Path, problem: str, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a lock, which a dead process releases; ResourceError with `problem` if it stays busy for `patience_s`."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=patience_s, poll_interval=0.2)
    except Timeout as error:
        raise ResourceError(problem) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unique per process and host, because two may write the same file.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON atomically; ValueError for NaN and infinity, which DVC would always report as changed."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
