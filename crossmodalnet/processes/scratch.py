"""Temporary folders that leave nothing behind, not even after `kill -9`, and whose paths every program can read."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PREFIX = "crossmodalnet-"
# Programs with a language of their own in paths: ANTs splits at commas and brackets, glob at others.
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_OWNER = re.compile(rf"{PREFIX}(\d+)-.*")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder of a plain path, removed at the end; those that killed processes left are removed too."""
    base = _base()
    remove_stale(base)
    prefix = f"{PREFIX}{os.getpid()}-"
    # A process of ours that ends at the same moment may still write there.
    with tempfile.TemporaryDirectory(prefix=prefix, dir=base, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """Give a path that leads to an existing folder and has no sign that ANTs or glob would read otherwise."""
    if is_plain(folder):
        yield folder
        return
    with scratch_folder() as scratch:
        link = scratch / "folder"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link


def is_plain(path: Path) -> bool:
    """Tell whether a path has letters, digits, `_`, `.`, `-` and `/` alone."""
    return bool(_PLAIN.fullmatch(str(path)))


def remove_stale(base: Path | None = None) -> None:
    """Remove the temporary folders of processes of ours that are gone."""
    for folder in (base or _base()).glob(f"{PREFIX}*"):
        owner = _OWNER.fullmatch(folder.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _base() -> Path:
    """The system's temporary folder, or another where that one's path is not plain."""
    usual = Path(tempfile.gettempdir())
    others = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
    found = (path for path in (usual, *others) if is_plain(path) and os.access(path, os.W_OK | os.X_OK))
    return next(found, usual)
