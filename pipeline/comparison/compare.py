"""Compare methods on one split or on the pooled folds of a cross-validation."""

import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from crossmodalnet.errors import DataError, UsageError
from pipeline.comparison.conditions import NOTHING_MEASURED, Conditions, compare_modalities, read_kept, write_kept
from pipeline.comparison.misregistration import compare_misregistration
from pipeline.comparison.pairwise import all_pairs_table, pairwise_table, rank_table
from pipeline.comparison.scores import CASES, Methods, check_methods, group_of, read_cases, score_table
from pipeline.comparison.statements import Findings, statements
from pipeline.comparison.tables import latex_table, plot_table, wide_table
from pipeline.config.params import read_raw, validate
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import OURS
from pipeline.runtime.paths import COMPARISON, PARAMS

logger = logging.getLogger(__name__)
FOLD = "split.fold"


@dataclass(frozen=True)
class Comparison:
    """Findings about methods.

    Attributes:
        pairs: on intact pairs.
        misregistration: None where it was not measured.
        modalities: scores from one modality alone; None where none was measured.
        folds: pooled folds of a cross-validation; 1 is a single split.
    """

    pairs: Findings
    conditions: Conditions
    misregistration: Findings | None
    modalities: Findings | None
    folds: int = 1

    @property
    def headlines(self) -> list[str]:
        """Statements for the console: power, first places, misregistration and modalities."""
        shown = [s for s in self.pairs.statements if not s["metric"] or s["kind"] in ("first", "not_first")]
        shown += self.misregistration.statements[:1] if self.misregistration else []
        shown += self.modalities.statements if self.modalities else []
        return [statement["text"] for statement in shown]


def compare(
    methods: Methods,
    reference: str,
    params: CompareConfig,
    *,
    conditions: Conditions = NOTHING_MEASURED,
    folds: int = 1,
) -> Comparison:
    """Compare methods that were scored on the same pairs.

    Args:
        methods: tables by method, columns seed, pair, structure and the metrics; ablations are named
            `crossmodalnet-<ablation>`.
        reference: method that the others are tested against.
        folds: pooled folds of a cross-validation.

    Raises:
        DataError: methods were scored on different pairs, or a reference is missing.
    """
    ablations = any(group_of(name) == "ablation" for name in methods)
    for needed in [reference, *([OURS] if ablations else [])]:
        if needed not in methods:
            raise DataError(f"{needed} was not evaluated, others are compared with it: {', '.join(methods)}")
    check_methods(methods)
    cases = pd.concat([table.assign(method=name) for name, table in methods.items()], ignore_index=True)
    scores = score_table(methods, params)
    pairwise, ranks = pairwise_table(methods, reference, params), rank_table(methods, params)
    tables = {
        CASES: cases[["method", *(column for column in cases.columns if column != "method")]],
        "scores.csv": scores,
        "pairwise.csv": pairwise,
        "all_pairs.csv": all_pairs_table(methods, params),
        "ranks.csv": ranks,
        "table.csv": wide_table(scores),
        "plots.csv": plot_table(scores),
    }
    texts = statements(pairwise, ranks, reference, params.alpha, folds)
    moved, alone = conditions
    return Comparison(
        Findings(tables, "statements.json", texts),
        conditions,
        None if moved.empty else compare_misregistration(moved, reference, params, folds),
        None if alone.empty else compare_modalities(methods, alone, params),
        folds,
    )


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write the files of a comparison into an existing folder."""
    for findings in (comparison.pairs, comparison.misregistration, comparison.modalities):
        if findings:
            findings.write(folder)
    latex = latex_table(comparison.pairs.tables["table.csv"], comparison.folds)
    (folder / "table.tex").write_text(latex, "utf-8")
    write_kept(folder, comparison.conditions)


class Fold(NamedTuple):
    """One experiment of a cross-validation."""

    revision: str
    params: dict[str, Any]
    cases: pd.DataFrame
    conditions: Conditions = NOTHING_MEASURED

    @property
    def number(self) -> int:
        """Index of the test fold."""
        return int(self.params.get("split", {}).get("fold", 0))


def read_revision(revision: str) -> Fold:
    """Read a DVC experiment, branch, tag or commit without a checkout."""
    with TemporaryDirectory() as temporary:
        params, comparison = Path(temporary, "params.yaml"), Path(temporary, "comparison")
        for source, target in ((PARAMS, params), (COMPARISON, comparison)):
            _get(source, revision, target)
        return Fold(revision, read_raw(params), read_cases(comparison / CASES), read_kept(comparison))


def pool(folds: Sequence[Fold]) -> Comparison:
    """Compare methods over the test pairs of all folds.

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
    params = validate(CompareConfig, first.params.get("compare") or {}, "compare")
    conditions = Conditions(
        _pooled([fold.conditions.misregistration for fold in folds], "misregistration"),
        _pooled([fold.conditions.modalities for fold in folds], "single modalities"),
    )
    return compare(methods, str(first.params["models"][0]), params, conditions=conditions, folds=len(folds))


def _pooled(tables: Sequence[pd.DataFrame], name: str) -> pd.DataFrame:
    """Concatenate the scores of all folds; empty if any fold has none."""
    missing = sum(table.empty for table in tables)
    if missing == 0:
        return pd.concat(tables, ignore_index=True)
    if missing < len(tables):
        logger.warning("%s: %d of %d folds have no scores of it: left out", name, missing, len(tables))
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
                raise DataError(f"{pair} is tested in {owner[pair]} and in {fold.revision}: folds must not overlap")
            owner[pair] = fold.revision
