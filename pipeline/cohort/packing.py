"""Putting a file of the user's into the cohort: gzip-compressed, the same bytes on every run, never a link."""

import gzip
import shutil
from pathlib import Path

from crossmodalnet.imaging.untrusted import CHUNK_BYTES, is_gzip

COMPRESS_LEVEL = 1


def place_packed(source: Path, target: Path, *, move: bool = False) -> None:
    """Copy a file to `target`, compressed unless it is so already.

    Args:
        source: file.
        target: place of the copy.
        move: whether a compressed file may be moved instead, since it is ours.
    """
    if not is_gzip(source):
        # No name and no time in the header: the same bytes on every run.
        with source.open("rb") as plain, target.open("wb") as packed, gzip.GzipFile(
            filename="", mode="wb", compresslevel=COMPRESS_LEVEL, fileobj=packed, mtime=0
        ) as sink:  # fmt: skip
            shutil.copyfileobj(plain, sink, CHUNK_BYTES)
    elif move:
        source.replace(target)
    else:
        shutil.copyfile(source, target)
