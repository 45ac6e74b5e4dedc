"""The list of target cases that have labels; reading it needs no image library."""

import json
from collections.abc import Iterable
from pathlib import Path

from crossmodalnet.errors import DataError
from pipeline.runtime.paths import TARGET_LABELS

LIST = "cases.json"


def write_labelled_names(folder: Path, names: Iterable[str]) -> None:
    """Write the list, in order; an empty one where no case has labels, or adaptation is off."""
    folder.joinpath(LIST).write_text(json.dumps(sorted(names), indent=2) + "\n")


def read_labelled_names(folder: Path = TARGET_LABELS) -> list[str]:
    """Names of the target cases that have labels.

    Raises:
        DataError: no list, or not one that `write_labelled_names` wrote.
    """
    try:
        return [str(name) for name in json.loads((folder / LIST).read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{folder} does not list target labels ({error}): run `dvc repro target`") from error
