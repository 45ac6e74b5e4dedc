"""What the comparison under misregistration allows to say, in plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.comparison.methods import group_of
from pipeline.comparison.statements import Statement, Wording, difference, note, power
from pipeline.comparison.titles import Metric
from pipeline.comparison.titles import short_title_of as title

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
