"""Paths that a user gives, found where the command runs or in the repository that it runs for."""

import os
from pathlib import Path

from pipeline.common.errors import DataError


def existing_path(text: str) -> Path:
    """Find what `data.path` names, relative to the working folder or to `$DVC_ROOT`.

    Raises:
        DataError: nothing is there.
    """
    path = Path(text).expanduser()
    # `dvc exp run --temp` runs in a copy of the repository, without what git does not track.
    for base in (Path.cwd(), Path(os.environ.get("DVC_ROOT", Path.cwd()))):
        if (base / path).exists():
            return base / path
    raise DataError(f"data.path = {text} does not exist (seen from {Path.cwd()})")
