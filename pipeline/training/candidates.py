"""Names of the files of all weights that were validated in an adaptation: what could have been kept."""

import re
from pathlib import Path

_NAME = re.compile(r"epoch(\d{4,})\.safetensors")


def candidate_file(folder: Path, epoch: int) -> Path:
    """Where a folder keeps the weights that were validated after an epoch (from 1)."""
    return folder / f"epoch{epoch:04d}.safetensors"


def find_candidates(folder: Path) -> dict[int, Path]:
    """Files of candidates in a folder by their epochs, in order; other files are left alone."""
    found = {int(match[1]): file for file in folder.iterdir() if (match := _NAME.fullmatch(file.name))}
    return dict(sorted(found.items()))
