"""Cross-validation: the test pairs of several DVC experiments, one per fold, as one test set."""

import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from pipeline.comparison.compare import CASES, NOTHING_MEASURED, Comparison, compare
from pipeline.comparison.conditions import Conditions, read_kept
from pipeline.comparison.methods import read_cases
from pipeline.config.params import read_raw, validate
from pipeline.config.sections import CompareConfig
from pipeline.runtime.errors import DataError, UsageError
from pipeline.runtime.paths import COMPARISON, PARAMS

logger = logging.getLogger(__name__)
FOLD = "split.fold"


@dataclass(frozen=True)
class Fold:
    """One experiment.

    Attributes:
        revision: name of the experiment, a revision.
        params: all of its parameters.
        cases: scores of all of its methods.
        conditions: scores of the methods under other conditions than an intact pair.
    """

    revision: str
    params: dict[str, Any]
    cases: pd.DataFrame
    conditions: Conditions = NOTHING_MEASURED

    @property
    def number(self) -> int:
        """Which fold tested."""
        return int(self.params.get("split", {}).get("fold", 0))


def read_revision(revision: str) -> Fold:
    """Read the parameters and the comparison of a DVC experiment, branch, tag or commit of this repository.

    Nothing is checked out: `dvc get` reads from git's and DVC's stores.

    Raises:
        DataError: the revision, or what is needed of it, does not exist or is not in the cache.
    """
    with TemporaryDirectory() as temporary:
        params, comparison = Path(temporary, "params.yaml"), Path(temporary, "comparison")
        for source, target in ((PARAMS, params), (COMPARISON, comparison)):
            _get(source, revision, target)
        return Fold(revision, read_raw(params), read_cases(comparison / CASES), read_kept(comparison))


def pool(folds: Sequence[Fold]) -> Comparison:
    """Compare over the test pairs of all folds.

    Raises:
        UsageError: fewer than two folds, or parameters other than `split.fold` differ.
        DataError: a pair is tested in two folds.
    """
    if len(folds) < 2:
        raise UsageError("pooling takes at least two revisions, one per fold")
    first = folds[0]
    for other in folds[1:]:
        if differing := [key for key in _differing(first.params, other.params) if key != FOLD]:
            raise UsageError(
                f"{other.revision} differs from {first.revision} in {', '.join(differing)}: only {FOLD} may differ"
            )
    _check_pairs(folds)
    num_folds = int(first.params.get("split", {}).get("folds", 1))
    if missing := sorted(set(range(num_folds)) - {fold.number for fold in folds}):
        logger.warning("%s %s of %d not among the revisions", FOLD, ", ".join(map(str, missing)), num_folds)
    cases = pd.concat([fold.cases for fold in folds], ignore_index=True)
    methods = {str(name): table.drop(columns="method") for name, table in cases.groupby("method", sort=False)}
    settings = validate(CompareConfig, first.params.get("compare") or {}, "compare")
    conditions = Conditions(
        _pooled([fold.conditions.misregistration for fold in folds], "misregistration"),
        _pooled([fold.conditions.modalities for fold in folds], "single modalities"),
    )
    return compare(methods, str(first.params["models"][0]), settings, conditions=conditions, folds=len(folds))


def _pooled(tables: Sequence[pd.DataFrame], what: str) -> pd.DataFrame:
    """Join what all folds have measured; nothing where one has not, as one of an older version."""
    missing = sum(table.empty for table in tables)
    if missing == 0:
        return pd.concat(tables, ignore_index=True)
    if missing < len(tables):
        logger.warning("%s: %d of %d folds have no scores of it: left out", what, missing, len(tables))
    return pd.DataFrame()


def _get(source: Path, revision: str, target: Path) -> None:
    command = [sys.executable, "-m", "dvc", "get", "--rev", revision, "--out", str(target)]
    done = subprocess.run([*command, ".", source.as_posix()], capture_output=True, text=True, check=False)
    if done.returncode or not target.exists():
        raise DataError(
            f"{source} of {revision} cannot be read ({done.stderr.strip()}): `dvc exp show` lists experiments, "
            "and each fold must have run the stage compare"
        )


def _differing(one: Any, other: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(set(one) | set(other)):
            yield from _differing(one.get(key), other.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif one != other:
        yield prefix


def _check_pairs(folds: Sequence[Fold]) -> None:
    owner: dict[str, str] = {}
    for fold in folds:
        for pair in sorted(set(fold.cases["pair"])):
            if pair in owner:
                raise DataError(
                    f"{pair} is tested in {owner[pair]} and in {fold.revision}: folds must not overlap"
                )
            owner[pair] = fold.revision
