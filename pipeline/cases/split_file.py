"""The written split: which pairs train, validate and test."""

import json
from pathlib import Path
from typing import get_args

from pipeline.cases.pairs import Pair, Role, select
from pipeline.cases.params import SplitParams
from pipeline.common.errors import DataError
from pipeline.runtime.outputs import write_json

ROLES: tuple[Role, ...] = get_args(Role)


def write_split(path: Path, pairs: list[Pair], params: SplitParams) -> None:
    """Write the pairs of each role with their subjects, and the fold, as JSON."""
    roles: dict[str, list[dict[str, str]]] = {
        role: [{"pair": pair.name, "ct": pair.ct.name, "mr": pair.mr.name} for pair in select(pairs, role)]
        for role in ROLES
    }
    write_json(path, {**roles, "folds": params.folds, "fold": params.fold})


def read_split(path: Path) -> dict[Role, list[str]]:
    """Read the pair names of each role.

    Raises:
        DataError: no such file, or not one that `write_split` wrote.
    """
    try:
        content = json.loads(path.read_text())
        return {role: [str(entry["pair"]) for entry in content[role]] for role in ROLES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not hold a split ({error}): run `dvc repro split`") from error
