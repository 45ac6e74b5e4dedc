"""State the findings of a comparison in sentences."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from crossmodalnet.io.console import count
from crossmodalnet.metrics.scores import METRICS, Metric
from crossmodalnet.metrics.statistics import smallest_p
from pipeline.comparison.titles import short_title_of as title

Statement = dict[str, str]
# A statement about all metrics.
ALL = ""
_VERDICTS = {
    "supported": "that difference is supported",
    "not_supported": "the data do not support that difference",
    "underpowered": "there are too few test pairs for a verdict on that difference",
}


class Findings(NamedTuple):
    """Tables by file name, and statements with their file name."""

    tables: Mapping[str, pd.DataFrame]
    file: str
    statements: list[Statement]

    def write(self, folder: Path) -> None:
        """Write tables and statements into an existing folder."""
        write_tables(folder, self.tables)
        text = json.dumps(self.statements, indent=2, ensure_ascii=False)
        (folder / self.file).write_text(f"{text}\n", "utf-8")


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables by file name into an existing folder."""
    for name, table in tables.items():
        table.to_csv(folder / name, index=False, float_format="%.6g")


class Wording(NamedTuple):
    """Words for the method that is ahead.

    `words` (ahead, behind) replace `{}` in the texts by verdict; `equal` is for a difference of 0.
    """

    words: tuple[str, str]
    supported: str
    not_supported: str
    underpowered: str
    equal: str


SCORES = Wording(("better", "worse"), "is {}", "{}", "scores {}", "score the same")


def statements(
    pairwise: pd.DataFrame, ranks: pd.DataFrame, reference: str, alpha: float, folds: int = 1
) -> list[Statement]:
    """State ranks, supported differences and underpowered tests.

    Returns:
        Each with metric (empty: all), text and kind (first, not_first, supported, not_supported, underpowered, note);
        tests also with family, method_a and method_b.
    """
    texts = [power(family, rows, alpha) for family, rows in pairwise.groupby("family", sort=False)]
    if folds > 1:
        texts.append(note(folds))
    for metric in METRICS:
        ranked, tests = (table[table["metric"] == metric.key] for table in (ranks, pairwise))
        if len(ranked) > 1:
            texts.append(_first(metric, ranked, tests, reference))
        texts += [difference(metric, row) for row in tests.to_dict("records")]
    return [statement for statement in texts if statement]


def power(family: Any, rows: pd.DataFrame, alpha: float) -> Statement:
    """State once that all tests of a family are underpowered; empty where they are not."""
    if not (rows["verdict"] == "underpowered").all():
        return {}
    num_pairs, num_tests = int(rows["num_pairs"].max()), int(rows["num_tests"].max())
    subject = "other methods" if family == "models" else "ablations"
    text = (
        f"With {count(num_pairs, 'test pair')} no paired Wilcoxon test against the {subject} can reach p < {alpha:g} "
        f"after correction for {count(num_tests, 'comparison')} (smallest possible p {smallest_p(num_pairs):.3g} "
        "before it): underpowered, read intervals, not verdicts, and take intervals from so few subjects as too narrow."
    )
    return {"metric": ALL, "kind": "underpowered", "family": str(family), "text": text}


def note(folds: int) -> Statement:
    """State that pooled folds make intervals and tests optimistic."""
    text = (
        f"The test pairs of {folds} folds are pooled. Networks of different folds share training pairs, so these pairs "
        "are not quite independent: p-values and intervals are somewhat too optimistic."
    )
    return {"metric": ALL, "kind": "note", "text": text}


def _first(metric: Metric, ranked: pd.DataFrame, tests: pd.DataFrame, reference: str) -> Statement:
    rows = {str(row["method"]): row for row in ranked.to_dict("records")}
    best = min(float(row["rank"]) for row in rows.values())
    leaders = [name for name, row in rows.items() if row["rank"] == best]
    share = sum(float(rows[name]["share_first"]) for name in leaders) / len(leaders)
    who = " and ".join(title(name) for name in leaders)
    text = f"{metric.title}: {who} {'is' if len(leaders) == 1 else 'are'} first of {len(rows)} methods"
    text += f", in {_share(share)} of the bootstrap samples{' each' if len(leaders) > 1 else ''}"
    own = rows[reference]
    span = f"rank {own['rank']:g}, 95 % interval {own['low']:g} to {own['high']:g}"
    if reference in leaders:
        return {"metric": metric.key, "kind": "first", "text": f"{text} ({span})."}
    text += f". {title(reference)} is not first ({span})"
    contrast = tests[(tests["method_a"] == reference) & tests["method_b"].isin(leaders)]
    if len(contrast) == 1:
        row = contrast.iloc[0]
        # Ranks leave out undefined pairs, so the sign may differ.
        behind = -_sign(metric) * float(row["difference"])
        text += f", {_number(metric, behind)} behind {who}; {_VERDICTS[str(row['verdict'])]}"
    return {"metric": metric.key, "kind": "not_first", "text": f"{text}."}


def difference(metric: Metric, row: dict[Any, Any], wording: Wording = SCORES) -> Statement:
    """State the outcome of one test, a row of `pairwise.COLUMNS`."""
    a, b, kind = title(row["method_a"]), title(row["method_b"]), str(row["verdict"])
    low, high = float(row["low"]), float(row["high"])
    advantage = _sign(metric) * float(row["difference"])
    turn = 1 if row["difference"] >= 0 else -1
    ends = sorted((turn * low, turn * high))
    amount = f"{_number(metric, abs(advantage))} [{ends[0]:.{metric.digits}f}, {ends[1]:.{metric.digits}f}]"
    evidence = f"Holm {_p(float(row['p_holm']))}, {count(int(row['num_pairs']), 'pair')}"
    word = wording.words[0 if advantage > 0 else 1]
    if kind == "supported":
        text = f"{a} {wording.supported.format(word)} than {b} by {amount} ({evidence}): supported."
    elif kind == "not_supported":
        lead = f"{a} {wording.not_supported.format(word)} by {amount}" if advantage else "difference 0"
        text = f"the data do not support a difference between {a} and {b} ({lead}; {evidence})."
    else:
        weak = f"{a} {wording.underpowered.format(word)} than {b} by {amount}"
        lead = weak if advantage else f"{a} and {b} {wording.equal}"
        text = f"{lead} on {count(int(row['num_pairs']), 'pair')}, too few for a verdict."
    return {
        "metric": metric.key, "kind": kind, "family": str(row["family"]), "method_a": str(row["method_a"]),
        "method_b": str(row["method_b"]), "text": f"{metric.title}: {text}",
    }  # fmt: skip


def _sign(metric: Metric) -> int:
    return 1 if metric.higher_is_better else -1


def _number(metric: Metric, value: float) -> str:
    return f"{value:.{metric.digits}f}{f' {metric.unit}' if metric.unit else ''}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def _share(value: float) -> str:
    return "more than 99 %" if 0.99 < value < 1 else f"{100 * value:.0f} %"
