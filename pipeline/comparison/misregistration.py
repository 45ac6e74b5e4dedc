"""How much Dice methods lose where the MR of a pair lies wrongly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.misregistration_statements import FAR_MM, LOSS, misregistration_statements
from pipeline.comparison.pairwise import COLUMNS as TEST_COLUMNS
from pipeline.comparison.pairwise import families_of, paired_tests
from pipeline.comparison.resampling import interval, resampled_means
from pipeline.comparison.statements import Statement
from pipeline.config.sections import CompareConfig

COLUMNS = (
    "method", "moved_mm", "turned_degrees", "dice", "low", "high", "loss", "loss_low", "loss_high",
    "num_subjects", "num_seeds",
)  # fmt: skip
LOSS_COLUMNS = ("method", "loss", "low", "high", "num_subjects", "num_seeds")
TABLE, LOSSES, TESTS, STATEMENTS = (
    "misregistration.csv", "misregistration_losses.csv", "misregistration_tests.csv", "misregistration_statements.json",
)  # fmt: skip


@dataclass(frozen=True)
class Misregistration:
    """What is known about how methods bear misregistration.

    Attributes:
        table: `COLUMNS`, Dice of every method at every shift and what it loses against 0 mm.
        losses: `LOSS_COLUMNS`, mean loss from `FAR_MM` on, least first; empty where no shift is as large.
        tests: `pairwise.COLUMNS` of these losses, metric `LOSS.key`.
        statements: statements in plain words.
    """

    table: pd.DataFrame
    losses: pd.DataFrame
    tests: pd.DataFrame
    statements: list[Statement]


def compare_misregistration(
    cases: pd.DataFrame, reference: str, params: CompareConfig, folds: int = 1
) -> Misregistration:
    """Compare methods that were displaced by the same amounts on the same pairs.

    Args:
        cases: `conditions.Conditions.misregistration`, not empty.
        reference: the method that the others are tested against.
        params: level, bootstrap.
        folds: folds of a cross-validation whose test pairs are pooled.
    """
    methods = {str(name): own for name, own in cases.groupby("method", sort=False)}
    values = {name: far_losses(own) for name, own in methods.items()}
    measured = {name: lost for name, lost in values.items() if not lost.empty}
    losses, tests = _loss_table(measured, params), _tests(measured, reference, params)
    said = misregistration_statements(
        losses, tests, cases["moved_mm"].unique().tolist(), reference, params.alpha, folds
    )
    return Misregistration(misregistration_table(methods, params), losses, tests, said)


def misregistration_table(methods: Mapping[str, pd.DataFrame], params: CompareConfig) -> pd.DataFrame:
    """Average Dice at every shift over subjects and seeds, and what is lost against 0 mm.

    Args:
        methods: tables by method name, columns pair, seed, moved_mm, turned_degrees and dice.
        params: bootstrap.

    Returns:
        `COLUMNS`; loss = Dice at 0 mm - Dice, with its paired 95 % interval. A pair that is undefined at any shift with
        any seed is left out of its method.
    """
    rows = []
    for method, own in methods.items():
        turned = own.groupby("moved_mm")["turned_degrees"].first()
        wide = own.pivot(index="pair", columns=["moved_mm", "seed"], values="dice")
        values = np.stack([wide[shift].to_numpy(np.float64) for shift in turned.index])
        values = values[:, np.isfinite(values).all(axis=(0, 2))]
        if not values.size:
            continue
        dice, means = values.mean(axis=(1, 2)), resampled_means(values, params)
        for place, (shift, degrees) in enumerate(turned.items()):
            loss, ends = dice[0] - dice[place], interval(means[:, 0] - means[:, place])
            rows.append(
                (
                    method,
                    shift,
                    degrees,
                    dice[place],
                    *interval(means[:, place]),
                    loss,
                    *ends,
                    *values.shape[1:],
                )
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def far_losses(cases: pd.DataFrame) -> pd.DataFrame:
    """Give the Dice that each pair loses: at 0 mm, less the mean over all shifts of `FAR_MM` or more.

    Args:
        cases: table of one method, columns pair, seed, moved_mm and dice.

    Returns:
        Row per pair, column per seed; no rows where no shift is as large.
    """
    wide = cases.pivot(index=["pair", "seed"], columns="moved_mm", values="dice")
    far = [shift for shift in wide.columns.astype(float) if shift >= FAR_MM]
    if not far:
        return pd.DataFrame()
    lost: pd.Series[float] = wide[0.0] - wide[far].mean(axis=1)
    return lost.unstack("seed").sort_index()


def write_misregistration(folder: Path, found: Misregistration) -> None:
    """Write the tables and statements into an existing folder."""
    for name, table in {TABLE: found.table, LOSSES: found.losses, TESTS: found.tests}.items():
        table.to_csv(folder / name, index=False, float_format="%.6g")
    (folder / STATEMENTS).write_text(
        json.dumps(found.statements, indent=2, ensure_ascii=False) + "\n", "utf-8"
    )


def _loss_table(losses: Mapping[str, pd.DataFrame], params: CompareConfig) -> pd.DataFrame:
    rows = []
    for method, table in losses.items():
        values: NDArray[np.float64] = table.dropna().to_numpy(np.float64)[None]
        if values.size:
            ends = interval(resampled_means(values, params)[:, 0])
            rows.append((method, float(values.mean()), *ends, *values.shape[1:]))
    return pd.DataFrame(rows, columns=list(LOSS_COLUMNS)).sort_values(
        "loss", kind="stable", ignore_index=True
    )


def _tests(losses: Mapping[str, pd.DataFrame], reference: str, params: CompareConfig) -> pd.DataFrame:
    rows = []
    for family, contrasts in families_of(losses, reference).items():
        known = [contrast for contrast in contrasts if set(contrast) <= set(losses)]
        rows += paired_tests(family, LOSS.key, known, losses, params)
    return pd.DataFrame(rows, columns=list(TEST_COLUMNS))
