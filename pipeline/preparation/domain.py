"""Record the target domain: the cases of each role, and the labelled cases."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from crossmodalnet.errors import DataError
from crossmodalnet.io.outputs import write_json
from pipeline.cohort.pairs import Role
from pipeline.runtime.paths import TARGET, TARGET_LABELS

RECORD, LIST = "domain.json", "cases.json"
# Label map of a target case on the working and native grid.
WORKING, NATIVE = "label.nii.gz", "native.nii.gz"
ROLES: tuple[Role, ...] = get_args(Role)

Scenario = Literal["cohort", "ct_to_mr", "mr_to_ct"]
Roles = dict[Role, list[str]]

SOURCE_CASES, TARGET_CASES = "source", "target"


@dataclass(frozen=True)
class Domain:
    """Case names of a domain adaptation by role."""

    scenario: Scenario
    source: Roles | None  # labelled cases in `source`; None: data/cropped
    target: Roles  # unlabelled cases in `target`


def write_domain(folder: Path, domain: Domain | None) -> None:
    """Write the record; None if adaptation is off."""
    write_json(folder / RECORD, {"scenario": None} if domain is None else asdict(domain))


def read_domain(folder: Path = TARGET) -> Domain | None:
    """Read the record; None if adaptation is off. Raise DataError if it is missing or invalid."""
    try:
        content = json.loads((folder / RECORD).read_text("utf-8"))
        if content["scenario"] is None:
            return None
        if content["scenario"] not in get_args(Scenario):
            raise ValueError(f"scenario must be one of {get_args(Scenario)}, got {content['scenario']!r}")
        source = None if content["source"] is None else _roles(content["source"])
        return Domain(content["scenario"], source, _roles(content["target"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} does not hold a target domain ({error}): run `dvc repro target`") from error


def _roles(content: dict[str, Any]) -> Roles:
    return {role: [str(name) for name in content[role]] for role in ROLES}


def write_labelled_names(folder: Path, names: Iterable[str]) -> None:
    """Write the names in order; empty if no case has labels or adaptation is off."""
    folder.joinpath(LIST).write_text(json.dumps(sorted(names), indent=2) + "\n")


def read_labelled_names(folder: Path = TARGET_LABELS) -> list[str]:
    """Read the names of labelled target cases; raise DataError if the list is missing or invalid."""
    try:
        return [str(name) for name in json.loads((folder / LIST).read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{folder} does not list target labels ({error}): run `dvc repro target`") from error
