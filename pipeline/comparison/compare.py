"""The comparison as a whole: from scores per case to tables and sentences."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.comparison.conditions import Conditions, write_kept
from pipeline.comparison.methods import Methods, check_methods, group_of
from pipeline.comparison.misregistration import (
    Misregistration,
    compare_misregistration,
    write_misregistration,
)
from pipeline.comparison.modalities import Modalities, compare_modalities, write_modalities
from pipeline.comparison.pairwise import all_pairs_table, pairwise_table, rank_table
from pipeline.comparison.scores import score_table
from pipeline.comparison.statements import Statement, statements
from pipeline.comparison.tables_out import bar_table, latex_table, plot_table, wide_table
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import OURS
from pipeline.runtime.errors import DataError

CASES = "cases.csv"
NOTHING_MEASURED = Conditions()


@dataclass(frozen=True)
class Comparison:
    """All that is known about how methods compare.

    Attributes:
        cases: scores of every method, seed, pair and structure.
        scores: means with intervals (`scores.COLUMNS`).
        pairwise: tests in their families (`pairwise.COLUMNS`).
        all_pairs: tests of everyone against everyone by Dice, a family of its own.
        ranks: ranks with intervals (`pairwise.RANK_COLUMNS`).
        statements: statements in plain words.
        conditions: scores under other conditions than an intact pair.
        misregistration: losses of the methods by misregistration; None where it was not measured.
        modalities: scores of the methods from one modality alone; None where no method can do without the other.
        folds: folds of a cross-validation whose test pairs are pooled; 1: none.
    """

    cases: pd.DataFrame
    scores: pd.DataFrame
    pairwise: pd.DataFrame
    all_pairs: pd.DataFrame
    ranks: pd.DataFrame
    statements: list[Statement]
    conditions: Conditions
    misregistration: Misregistration | None
    modalities: Modalities | None
    folds: int = 1

    @property
    def headlines(self) -> list[str]:
        """What a console shows of the statements: how sure they are, and where the reference is first."""
        shown = [
            statement["text"]
            for statement in self.statements
            if not statement["metric"] or statement["kind"] in ("first", "not_first")
        ]
        displaced = self.misregistration.statements[:1] if self.misregistration else []
        alone = self.modalities.statements if self.modalities else []
        return shown + [statement["text"] for statement in (*displaced, *alone)]


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
        methods: tables by method name, columns seed, pair, structure and the metrics; ablations are named
            `crossmodalnet-<ablation>`.
        reference: the method that the others are tested against.
        params: level, bootstrap.
        conditions: scores of these methods, or of some, under other conditions than an intact pair.
        folds: folds of a cross-validation whose test pairs are pooled.

    Raises:
        DataError: the methods were not scored on the same pairs, or what is compared with is not among them.
    """
    ablations = any(group_of(name) == "ablation" for name in methods)
    for needed in [reference, *([OURS] if ablations else [])]:
        if needed not in methods:
            raise DataError(f"{needed} was not evaluated, others are compared with it: {', '.join(methods)}")
    check_methods(methods)
    displaced, alone = conditions.misregistration, conditions.modalities
    pairwise, ranks = pairwise_table(methods, reference, params), rank_table(methods, params)
    return Comparison(
        cases=pd.concat([table.assign(method=name) for name, table in methods.items()], ignore_index=True),
        scores=score_table(methods, params),
        pairwise=pairwise,
        all_pairs=all_pairs_table(methods, params),
        ranks=ranks,
        statements=statements(pairwise, ranks, reference, params.alpha, folds),
        conditions=conditions,
        misregistration=None
        if displaced.empty
        else compare_misregistration(displaced, reference, params, folds),
        modalities=None if alone.empty else compare_modalities(methods, alone, params),
        folds=folds,
    )


def write_comparison(folder: Path, found: Comparison) -> None:
    """Write the files of a comparison into an existing folder."""
    wide = wide_table(found.scores)
    columns = ["method", *(column for column in found.cases.columns if column != "method")]
    tables = {
        CASES: found.cases[columns],
        "scores.csv": found.scores,
        "pairwise.csv": found.pairwise,
        "all_pairs.csv": found.all_pairs,
        "ranks.csv": found.ranks,
        "table.csv": wide,
        "bars.csv": bar_table(found.scores),
        "plots.csv": plot_table(found.scores),
    }
    for name, table in tables.items():
        table.to_csv(folder / name, index=False, float_format="%.6g")
    (folder / "table.tex").write_text(latex_table(wide, found.folds), "utf-8")
    (folder / "statements.json").write_text(
        json.dumps(found.statements, indent=2, ensure_ascii=False) + "\n", "utf-8"
    )
    write_kept(folder, found.conditions)
    if found.misregistration:
        write_misregistration(folder, found.misregistration)
    if found.modalities:
        write_modalities(folder, found.modalities)
