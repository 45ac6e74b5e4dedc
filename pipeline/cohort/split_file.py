"""Write and read data/split.json."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.io.outputs import write_json
from pipeline.cohort.pairs import ROLES, Pair, Role, select
from pipeline.config.sections import SplitConfig


@dataclass(frozen=True)
class SplitNotes:
    """Abbreviations of structures that are not delineated, and the number of same-patient pairs."""

    missing: tuple[str, ...] = ()
    num_one_patient: int = 0


def write_split(path: Path, pairs: list[Pair], params: SplitConfig) -> None:
    """Write the pairs of each role, the fold, and the structures that are not delineated."""
    content: dict[str, Any] = {role: [_entry(pair) for pair in select(pairs, role)] for role in ROLES}
    content |= {"folds": params.folds, "fold": params.fold}
    # A structure missing on one side of a pair could not be scored.
    absent = {name for pair in pairs for subject in (pair.ct, pair.mr) for name in subject.missing}
    if missing := [name for name in ABBREVIATIONS if name in absent]:
        content["missing"] = missing
    write_json(path, content)


def _entry(pair: Pair) -> dict[str, str]:
    entry = {"pair": pair.name, "ct": pair.ct.name, "mr": pair.mr.name}
    return {**entry, "patient": pair.ct.person} if pair.is_one_patient else entry


@contextmanager
def _content_of(path: Path) -> Iterator[dict[str, Any]]:
    """Parse a split; raise DataError if it is missing or malformed, also for errors in the block."""
    try:
        yield json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} does not hold a split ({error}): run `dvc repro split`") from error


def read_split(path: Path) -> dict[Role, list[str]]:
    """Read the pair names of each role."""
    with _content_of(path) as content:
        return {role: [str(entry["pair"]) for entry in content[role]] for role in ROLES}


def read_atlas_pairs(path: Path) -> list[str]:
    """Read the first training pair of each CT, ordered by name: these CTs locate the heart in others."""
    with _content_of(path) as content:
        pairs = sorted((str(entry["pair"]), str(entry["ct"])) for entry in content["train"])
        first: dict[str, str] = {}
        for pair, ct in pairs:
            first.setdefault(ct, pair)
        return list(first.values())


def read_notes(path: Path) -> SplitNotes:
    """Read the notes beside the roles."""
    with _content_of(path) as content:
        missing = tuple(name for name in ABBREVIATIONS if name in content.get("missing", []))
        return SplitNotes(missing, sum("patient" in entry for role in ROLES for entry in content[role]))
