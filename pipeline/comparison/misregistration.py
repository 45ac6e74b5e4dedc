"""Dice that methods lose where the MR is misregistered."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.pairwise import COLUMNS as TEST_COLUMNS
from pipeline.comparison.pairwise import families_of, paired_tests
from pipeline.comparison.scores import group_of, interval, resampled_means
from pipeline.comparison.statements import Statement, Wording, difference, note, power
from pipeline.comparison.titles import Metric
from pipeline.comparison.titles import short_title_of as title
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


# Shifts of this and more are far: beyond what a registration that has worked leaves over.
FAR_MM = 5.0
LOSS = Metric("misregistration_loss", f"Dice lost from {FAR_MM:g} mm on", "", 3, False)
LOSES = Wording(("less", "more"), "loses {}", "loses {}", "loses {}", "lose the same")


def misregistration_statements(
    losses: pd.DataFrame,
    tests: pd.DataFrame,
    shifts_mm: Sequence[float],
    reference: str,
    alpha: float,
    folds: int = 1,
) -> list[Statement]:
    """Say which method loses least, and which differences to the reference are supported.

    Args:
        losses: `misregistration.LOSS_COLUMNS`, least first.
        tests: `pairwise.COLUMNS` of the losses.
        shifts_mm: all that were measured.
        reference: the method that the others are tested against.
        alpha: level of the tests.
        folds: folds of a cross-validation whose test pairs are pooled.

    Returns:
        Statements as of `statements.statements`, metric `LOSS.key`; none where no shift is far.
    """
    if losses.empty:
        return []
    found = [_least(losses, _far(shifts_mm), reference)]
    found += [power(family, rows, alpha) for family, rows in tests.groupby("family", sort=False)]
    if folds > 1:
        found.append(note(folds))
    found += [difference(LOSS, row, LOSES) for row in tests.to_dict("records")]
    return [statement for statement in found if statement]


def _least(losses: pd.DataFrame, over: str, reference: str) -> Statement:
    """Name the network that loses least, and what the reference loses; ablations do not compete."""
    rows = [row for row in losses.to_dict("records") if group_of(str(row["method"])) != "ablation"]
    if not rows:
        return {}
    first, lead = rows[0], f"{LOSS.title} ({over})"
    if len(rows) == 1:
        return _statement("note", f"{lead}: {_loses(first)}.")
    gain = "it " if first["loss"] < 0 else ""
    text = (
        f"{lead}: {title(str(first['method']))} loses least of {len(rows)} networks, {gain}{_amount(first)}"
    )
    if first["method"] == reference:
        return _statement("first", f"{text}.")
    own = [f"; {_loses(row)}" for row in rows if row["method"] == reference]
    return _statement("not_first", f"{text}{''.join(own)}.")


def _far(shifts_mm: Sequence[float]) -> str:
    far = sorted(shift for shift in shifts_mm if shift >= FAR_MM)
    if len(far) == 1:
        return f"at {far[0]:g} mm, against 0 mm"
    return f"mean of {', '.join(f'{shift:g}' for shift in far[:-1])} and {far[-1]:g} mm, against 0 mm"


def _loses(row: Mapping[Any, Any]) -> str:
    verb = "" if row["loss"] < 0 else "loses "
    return f"{title(str(row['method']))} {verb}{_amount(row)}"


def _amount(row: Mapping[Any, Any]) -> str:
    """Print a loss with its interval; one below 0 as the gain that it is, with the verb."""
    loss, low, high = (float(row[key]) for key in ("loss", "low", "high"))
    if loss < 0:
        return f"gains {-loss:.3f} [{-high:.3f}, {-low:.3f}]"
    return f"{loss:.3f} [{low:.3f}, {high:.3f}]"


def _statement(kind: str, text: str) -> Statement:
    return {"metric": LOSS.key, "kind": kind, "text": text}
