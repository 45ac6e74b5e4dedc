"""What the comparison of an adaptation allows to say, in plain sentences."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.domains import LOWER, UPPER
from pipeline.comparison.statements import Statement
from pipeline.comparison.titles import JADA
from pipeline.comparison.titles import adapted_title_of as title
from pipeline.config.variants import OURS
from pipeline.evaluation.tables import MEAN

Row = Mapping[Any, Any]


def adaptation_statements(
    scores: pd.DataFrame, gap: pd.DataFrame, seeds: pd.DataFrame, structures: pd.DataFrame
) -> list[Statement]:
    """Say how much of the gap is closed, at what price on the source, where, and by which parts.

    Args:
        scores: `adaptation.COLUMNS`.
        gap: `gap.GAP_COLUMNS`.
        seeds: `gap.SEED_COLUMNS`.
        structures: `adaptation.STRUCTURE_COLUMNS`.

    Returns:
        Each with metric, kind (gap, seeds, structures, part) and text.
    """
    dice = scores[(scores["metric"] == "dice") & (scores["structure"] == MEAN)]
    rows = {str(row["method"]): row for row in gap[gap["structure"] == MEAN].to_dict("records")}
    found = [_statement("gap", _main(rows[OURS]) if OURS in rows else _scores_alone(dice))]
    if OURS in rows:
        own = seeds[(seeds["method"] == OURS) & (seeds["structure"] == MEAN)]
        if len(own) > 1:
            found.append(_statement("seeds", _by_seed(own)))
    if not structures.empty:
        found.append(_statement("structures", _structures(structures)))
    return found + [_statement("part", _part(row)) for name, row in rows.items() if name != OURS]


def _statement(kind: str, text: str) -> Statement:
    return {"metric": "dice", "kind": kind, "text": text}


def _main(row: Row) -> str:
    lower, upper = f"{row['source_only']:.3f}", f"{row['supervised']:.3f}"
    evidence = f"{_count(row['num_subjects'], 'test case')}, {_count(row['num_seeds'], 'seed')}"
    source = f"on the source it {_loss(row)}"
    if _undefined(row["share"]):
        return (
            f"On the target supervised training (Dice {upper}) is no better than source-only training ({lower}): "
            f"there is no gap to recover. {JADA} reaches {row['dice']:.3f} there ({evidence}); {source}."
        )
    between = f"the gap between source-only ({lower}) and supervised training ({upper}) on the target"
    if row["share"] < 0:
        lead = f"{JADA} recovers nothing of {between}: its Dice is {row['dice']:.3f} there, a share of {_share(row)}"
    else:
        lead = f"{JADA} recovers {_share(row)} of {between} in Dice, {row['dice']:.3f}"
    return f"{lead} ({evidence}); {source}."


def _share(row: Row) -> str:
    text = f"{_percent(row['share'])} %"
    if not _undefined(row["low"]):
        return f"{text} [{_percent(row['low'])}, {_percent(row['high'])}]"
    few = f"{row['num_without_gap']:g} of {row['num_samples']:g}"
    return f"{text} (no interval: in {few} resamplings there is no gap)"


def _loss(row: Row) -> str:
    loss, low, high = (float(row[key]) for key in ("source_loss", "source_loss_low", "source_loss_high"))
    if loss < 0:
        loss, low, high, word = -loss, -high, -low, "gains"
    else:
        word = "loses"
    return f"{word} {loss:.3f} Dice [{low:.3f}, {high:.3f}]"


def _scores_alone(dice: pd.DataFrame) -> str:
    """Give the scores where there is no share: a bound is missing, or labels of the target."""
    rows = {(row["method"], row["domain"]): row for row in dice.to_dict("records")}
    domain = "target" if (OURS, "target") in rows else "source"
    parts = [
        f"{title(name)} {rows[name, domain]['mean']:.3f} [{rows[name, domain]['low']:.3f}, "
        f"{rows[name, domain]['high']:.3f}]"
        for name in (LOWER, OURS, UPPER)
        if (name, domain) in rows
    ]
    why = (
        "`adaptations` lacks source_only or supervised, so there is no gap to compare with"
        if domain == "target"
        else "the target has no labelled test case, so nothing can be said about it"
    )
    return f"Dice on the {domain}: {', '.join(parts)}; {why}."


def _by_seed(own: pd.DataFrame) -> str:
    shares = [
        "no gap" if _undefined(share) else f"{_percent(share)} %" for share in own["share"].astype(float)
    ]
    listed = ", ".join(f"seed {seed} {share}" for seed, share in zip(own["seed"], shares, strict=True))
    return f"Share of the gap that {JADA} recovers with each seed: {listed}."


def _structures(structures: pd.DataFrame) -> str:
    single = structures[structures["structure"].isin(ABBREVIATIONS)]
    better = single["difference"] > 0
    sure, sure_worse = (single["low"] > 0).sum(), (single["high"] < 0).sum()
    text = (
        f"On the target {JADA} has a higher Dice than source-only training in {better.sum()} of {len(single)}"
    )
    text += f" structures, in {sure} of them with an interval above 0"
    worse = single[~better]["structure"].tolist()
    if worse:
        text += f"; not in {', '.join(worse)}"
        text += f" ({sure_worse} with an interval below 0)" if sure_worse else ""
    return f"{text}."


def _part(row: Row) -> str:
    name = title(str(row["method"]))
    source = f"on the source it {_loss(row)}"
    if _undefined(row["share"]):
        return f"{name}: Dice {row['dice']:.3f} on the target; {source}."
    return f"{name} recovers {_share(row)}, Dice {row['dice']:.3f}; {source}."


def _undefined(value: Any) -> bool:
    return bool(value != value)


def _percent(share: Any) -> str:
    # Minus zero is no share.
    return f"{round(100 * float(share)) + 0:d}"


def _count(number: Any, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
