"""Compare the Dice that methods lose where the MR is misregistered."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from crossmodalnet.metrics.scores import METRIC
from crossmodalnet.metrics.statistics import quantile_interval
from pipeline.comparison.pairwise import COLUMNS as TEST_COLUMNS
from pipeline.comparison.pairwise import families_of, paired_tests
from pipeline.comparison.scores import group_of, resampled_means
from pipeline.comparison.statements import Findings, Statement, Wording, difference, note, power
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
# Larger than the error of a successful registration.
FAR_MM = 5.0
LOSS = replace(
    METRIC["dice"], key="misregistration_loss", title=f"Dice lost from {FAR_MM:g} mm on", higher_is_better=False
)
LOSES = Wording(("less", "more"), "loses {}", "loses {}", "loses {}", "lose the same")


def compare_misregistration(cases: pd.DataFrame, reference: str, params: CompareConfig, folds: int = 1) -> Findings:
    """Compare methods whose MR was shifted by the same amounts on the same pairs."""
    methods = {str(name): own for name, own in cases.groupby("method", sort=False)}
    losses = {name: lost for name, own in methods.items() if not (lost := far_losses(own)).empty}
    table, tests = _loss_table(losses, params), _tests(losses, reference, params)
    shifts = cases["moved_mm"].unique().tolist()
    tables = {TABLE: misregistration_table(methods, params), LOSSES: table, TESTS: tests}
    return Findings(tables, STATEMENTS, _statements(table, tests, shifts, reference, params.alpha, folds))


def misregistration_table(methods: Mapping[str, pd.DataFrame], params: CompareConfig) -> pd.DataFrame:
    """Average Dice at every shift over subjects and seeds: `COLUMNS`.

    loss = Dice at 0 mm - Dice, with its paired 95 % interval. Pairs undefined at any shift or seed are left out.
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
            rows.append((
                method, shift, degrees, dice[place], *quantile_interval(means[:, place]), dice[0] - dice[place],
                *quantile_interval(means[:, 0] - means[:, place]), *values.shape[1:],
            ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def far_losses(cases: pd.DataFrame) -> pd.DataFrame:
    """Compute Dice at 0 mm - mean Dice over shifts of `FAR_MM` or more, a row per pair and a column per seed.

    The table is empty without such a shift.
    """
    wide = cases.pivot(index=["pair", "seed"], columns="moved_mm", values="dice")
    far = [shift for shift in wide.columns.astype(float) if shift >= FAR_MM]
    if not far:
        return pd.DataFrame()
    lost: pd.Series[float] = wide[0.0] - wide[far].mean(axis=1)
    return lost.unstack("seed").sort_index()


def _loss_table(losses: Mapping[str, pd.DataFrame], params: CompareConfig) -> pd.DataFrame:
    rows = []
    for method, table in losses.items():
        values = table.dropna().to_numpy(np.float64)[None]
        if values.size:
            ends = quantile_interval(resampled_means(values, params)[:, 0])
            rows.append((method, float(values.mean()), *ends, *values.shape[1:]))
    table = pd.DataFrame(rows, columns=list(LOSS_COLUMNS))
    return table.sort_values("loss", kind="stable", ignore_index=True)


def _tests(losses: Mapping[str, pd.DataFrame], reference: str, params: CompareConfig) -> pd.DataFrame:
    rows = []
    for family, contrasts in families_of(losses, reference).items():
        measured = [contrast for contrast in contrasts if set(contrast) <= set(losses)]
        rows += paired_tests(family, LOSS.key, measured, losses, params)
    return pd.DataFrame(rows, columns=list(TEST_COLUMNS))


def _statements(
    losses: pd.DataFrame, tests: pd.DataFrame, shifts_mm: Sequence[float], reference: str, alpha: float, folds: int
) -> list[Statement]:
    """State the method with the smallest loss, and the supported differences to the reference."""
    if losses.empty:
        return []
    texts = [_least(losses, _far(shifts_mm), reference)]
    texts += [power(family, rows, alpha) for family, rows in tests.groupby("family", sort=False)]
    if folds > 1:
        texts.append(note(folds))
    texts += [difference(LOSS, row, LOSES) for row in tests.to_dict("records")]
    return [statement for statement in texts if statement]


def _least(losses: pd.DataFrame, over: str, reference: str) -> Statement:
    """Report the network with the smallest loss, and the loss of the reference, without ablations."""
    rows = [row for row in losses.to_dict("records") if group_of(str(row["method"])) != "ablation"]
    if not rows:
        return {}
    first, lead = rows[0], f"{LOSS.title} ({over})"
    if len(rows) == 1:
        return {"metric": LOSS.key, "kind": "note", "text": f"{lead}: {_loses(first)}."}
    gain = "it " if first["loss"] < 0 else ""
    text = f"{lead}: {title(str(first['method']))} loses least of {len(rows)} networks, {gain}{_amount(first)}"
    if first["method"] == reference:
        return {"metric": LOSS.key, "kind": "first", "text": f"{text}."}
    own = [f"; {_loses(row)}" for row in rows if row["method"] == reference]
    return {"metric": LOSS.key, "kind": "not_first", "text": f"{text}{''.join(own)}."}


def _far(shifts_mm: Sequence[float]) -> str:
    far = sorted(shift for shift in shifts_mm if shift >= FAR_MM)
    if len(far) == 1:
        return f"at {far[0]:g} mm, against 0 mm"
    return f"mean of {', '.join(f'{shift:g}' for shift in far[:-1])} and {far[-1]:g} mm, against 0 mm"


def _loses(row: Mapping[Any, Any]) -> str:
    verb = "" if row["loss"] < 0 else "loses "
    return f"{title(str(row['method']))} {verb}{_amount(row)}"


def _amount(row: Mapping[Any, Any]) -> str:
    """Format a loss with its interval; a negative loss is a gain."""
    loss, low, high = (float(row[key]) for key in ("loss", "low", "high"))
    if loss < 0:
        return f"gains {-loss:.3f} [{-high:.3f}, {-low:.3f}]"
    return f"{loss:.3f} [{low:.3f}, {high:.3f}]"
