"""Paths that a user gives, found where the command runs or in the repository that it runs for."""

import os
from pathlib import Path

from crossmodalnet.errors import DataError
from pipeline.cohort.guard import refuse_outputs


def existing_path(text: str, key: str) -> Path:
    """Find what a parameter names, relative to the working folder or to `$DVC_ROOT`; `~` is the home folder.

    Args:
        text: path as the user wrote it.
        key: name of the parameter as the user knows it, for messages: `data.path`, `adapt.target.path`, `PATH`.

    Raises:
        DataError: nothing is there, or the operating system does not say.
        UsageError: it lies where DVC removes files.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise DataError(f"{key} = {text}: no home folder is known ({error}): write the whole path") from error
    # `dvc exp run --temp` runs in a copy of the repository, without what git does not track.
    for base in dict.fromkeys((Path.cwd(), Path(os.environ.get("DVC_ROOT", Path.cwd())))):
        try:
            (base / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise DataError(f"{key} = {text} cannot be read ({error})") from error
        refuse_outputs(key, base / path)
        return base / path
    raise DataError(f"{key} = {text} does not exist (seen from {Path.cwd()})")
