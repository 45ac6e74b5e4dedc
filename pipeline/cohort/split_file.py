"""The written split: which pairs train, validate and test."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.io.outputs import write_json
from pipeline.cohort.pairs import Pair, Role, select
from pipeline.config.sections import SplitConfig

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class SplitNotes:
    """What should be known of the pairs beside their roles.

    Attributes:
        missing: abbreviations of the structures that the cohort does not delineate: its label maps hold background
            there, and no score counts them.
        num_one_patient: number of pairs that are the CT and MR of one patient.
    """

    missing: tuple[str, ...] = ()
    num_one_patient: int = 0


def write_split(path: Path, pairs: list[Pair], params: SplitConfig) -> None:
    """Write the pairs of each role with their subjects, and the fold, as JSON.

    A pair of one patient has his or her name too; structures that no label map delineates are listed if there are any.
    """
    roles: dict[str, list[dict[str, str]]] = {
        role: [_entry(pair) for pair in select(pairs, role)] for role in ROLES
    }
    # The same for all subjects of a cohort; a pair that lacks a structure on one side could not be scored on it.
    lacking = {name for pair in pairs for subject in (pair.ct, pair.mr) for name in subject.missing}
    missing = [name for name in ABBREVIATIONS if name in lacking]
    noted = {"missing": missing} if missing else {}
    write_json(path, {**roles, "folds": params.folds, "fold": params.fold, **noted})


def _entry(pair: Pair) -> dict[str, str]:
    entry = {"pair": pair.name, "ct": pair.ct.name, "mr": pair.mr.name}
    return {**entry, "patient": pair.ct.person} if pair.is_one_patient else entry


def read_split(path: Path) -> dict[Role, list[str]]:
    """Read the pair names of each role.

    Raises:
        DataError: no such file, or not one that `write_split` wrote.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        return {role: [str(entry["pair"]) for entry in content[role]] for role in ROLES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not hold a split ({error}): run `dvc repro split`") from error


def read_atlas_pairs(path: Path) -> list[str]:
    """Read the names of the training pairs whose CTs find hearts in others: the first pair of each CT, in order.

    Raises:
        DataError: no such file, or not one that `write_split` wrote.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))["train"]
        first: dict[str, str] = {}
        for pair, ct in sorted((str(entry["pair"]), str(entry["ct"])) for entry in entries):
            first.setdefault(ct, pair)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not hold a split ({error}): run `dvc repro split`") from error
    return list(first.values())


def read_notes(path: Path) -> SplitNotes:
    """Read what is noted beside the roles.

    Raises:
        DataError: no such file, or not one that `write_split` wrote.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        missing = tuple(name for name in ABBREVIATIONS if name in content.get("missing", []))
        return SplitNotes(missing, sum("patient" in entry for role in ROLES for entry in content[role]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} does not hold a split ({error}): run `dvc repro split`") from error
