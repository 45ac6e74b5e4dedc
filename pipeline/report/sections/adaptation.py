"""Adaptation to another domain: scores in both domains between their bounds, a case, and the curves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.training.adaptation.config import TERMS
from pipeline.comparison import adaptation as compared
from pipeline.comparison.adaptation import GAP_COLUMNS, LOWER, UPPER
from pipeline.comparison.scores import MEAN4
from pipeline.comparison.titles import adapted_title_of
from pipeline.config.variants import OURS, is_adaptation
from pipeline.evaluation.score_cases import CASE_COLUMNS, CHOICE_COLUMNS, CHOICES_FILE, MEAN
from pipeline.preparation.domain import NATIVE, TARGET_CASES
from pipeline.report import tables
from pipeline.report.artefacts import Artefacts, find_cropped
from pipeline.report.charts import MODEL_COLOURS, MUTED, svg
from pipeline.report.overlays import CaseOverlay, draw_overlay, rank_cases
from pipeline.report.sections.comparison import read_compared, read_statements
from pipeline.report.tables import DASH, Table, interval, number, signed
from pipeline.runtime import paths
from pipeline.runtime.inputs import existing, read_table

# Terms in print; any other is called by its name.
WORDS = {
    "marginal": "marginal: features",
    "conditional": "conditional: features given classes",
    "output": "output: entropy maps",
    "self_training": "self-training: own labels",
    "topology": "topology: spanning trees",
    "volumes": "volumes: shares of the heart",
}
TERM_TITLES = {name: WORDS.get(name, name.replace("_", " ")) for name in TERMS}
MEAN_ROWS = {MEAN: "mean of seven", MEAN4: "mean of four (AO, LA, LV, Myo)"}
# By title of the panel: columns and their labels, level of chance, top of the axis.
PANELS: Mapping[str, tuple[Mapping[str, str], float | None, float | None]] = {
    "Terms of the adaptation": ({f"loss_{key}": title for key, title in TERM_TITLES.items()}, None, None),
    "Accuracy of the discriminators": (
        {"marginal_accuracy": "of features", "conditional_accuracy": "of features given classes"}, 0.5, 1.0,
    ),
    "Distance of class prototypes": ({"prototype_distance": ""}, None, None),
    "What weights are kept by": (
        {"val_dice": "validation Dice, source", "target_entropy": "entropy of the output, target"}, None, 1.0,
    ),
}  # fmt: skip


def section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Compare the adapted network with its bounds; None without an adaptation."""
    if artefacts.domain is None:
        return None
    columns = ["domain", "method", "metric", "structure"]
    scores = read_compared(artefacts, compared.SCORES, [*columns, "mean", "low", "high"]).set_index(columns)
    gap = read_compared(artefacts, compared.GAP, GAP_COLUMNS, optional=True)
    gains = read_compared(artefacts, compared.STRUCTURES, compared.STRUCTURE_COLUMNS, optional=True)
    statements = read_statements(artefacts, compared.STATEMENTS)
    published = pd.read_csv(Path(__file__).with_name("adaptation_literature.csv"))
    published = published[published["scenario"] == artefacts.domain.scenario].drop(columns="scenario")
    settings = artefacts.card(OURS).get("adaptation") or {}
    terms = [f"{title} ({settings[key]:g})" for key, title in TERM_TITLES.items() if settings.get(key)]
    labelled = "target" in scores.index.unique("domain")
    return {
        "domain": artefacts.domain,
        "target_source": artefacts.adapt.target.source,
        "terms": tables.enumerate_words(terms),
        "main": [s["text"] for s in statements if s["kind"] != "part"],
        "parts": [s["text"] for s in statements if s["kind"] == "part"],
        "methods": method_table(scores, gap),
        "by_structure": structure_table(scores, gains) if labelled else None,
        "curves": adaptation_chart([artefacts.curves[OURS, seed] for seed in artefacts.seeds]),
        "hindsight": hindsight(_read_target(artefacts, OURS, CHOICES_FILE)) if labelled else None,
        "published": None if published.empty else tables.frame_table(published),
        "overlay": _median_overlay(artefacts, scores) if labelled else None,
    }


def method_table(scores: pd.DataFrame, gap: pd.DataFrame) -> Table:
    """Print every method: Dice in both domains, HD95 on the target, share of the gap, each with its interval.

    Args:
        scores: mean, low and high by domain, method, metric and structure.
        gap: shares that stage `compare` wrote; no rows where a bound is missing.
    """
    shares = gap[gap["structure"] == MEAN].set_index("method")[["share", "low", "high"]].astype(float)
    rows = []
    for name in scores.loc["source"].index.unique("method"):
        row = {"Method": adapted_title_of(name)}
        for domain in ("source", "target"):
            row[f"Dice, {domain}"], row[f"95 % interval, {domain}"] = _score(scores, domain, name)
        row["HD95, target, mm"] = _score(scores, "target", name, "hd95_mm")[0]
        share, low, high = map(_percent, shares.reindex([name]).iloc[0])
        row |= {
            "Share of the gap": share,
            "95 % interval, share": DASH if low == DASH else f"{low} to {high}",
        }
        if name in (LOWER, UPPER) and len(shares):
            ends = {
                "Share of the gap": "0 %" if name == LOWER else "100 %",
                "95 % interval, share": "by definition",
            }
            row |= ends
        rows.append(row)
    return tables.make_table(rows)


def structure_table(scores: pd.DataFrame, gains: pd.DataFrame) -> Table:
    """Print Dice on the target per structure and for the means: bounds, adapted network, and what it gains."""
    gains = gains.set_index("structure")[["difference", "low", "high"]].astype(float)
    rows = []
    for structure in (*ABBREVIATIONS, *MEAN_ROWS):
        row = {"Structure": MEAN_ROWS.get(structure, structure)}
        for name in (LOWER, OURS, UPPER):
            if name in scores.loc["target"].index.unique("method"):
                row[adapted_title_of(name)] = _score(scores, "target", name, structure=structure)[0]
        if len(gains):
            gain, low, high = gains.reindex([structure]).to_numpy()[0]
            row[f"{adapted_title_of(OURS)} − source only"] = signed(gain, 3)
            row["95 % interval"] = interval(low, high, 3, sign=True)
        rows.append(row)
    return tables.make_table(rows)


def hindsight(choices: Sequence[pd.DataFrame]) -> dict[str, Any] | None:
    """Compare the weights kept with the best that target labels would have chosen, as means over the seeds.

    Args:
        choices: a table per seed: epoch, chosen, target_dice.

    Returns:
        Mean Dice of both, and the number of validated epochs; None where a seed has no choice.
    """
    kept = [table.loc[table["chosen"].astype(bool), "target_dice"] for table in choices]
    if any(own.empty for own in kept):
        return None
    return {
        "kept": sum(float(own.iloc[0]) for own in kept) / len(kept),
        "best": sum(float(table["target_dice"].max()) for table in choices) / len(choices),
        "epochs": max(len(table) for table in choices),
    }


def adaptation_chart(curves: Sequence[pd.DataFrame]) -> str:
    """Draw what is recorded of an adaptation over the epochs, the first seed thick and the others thin.

    A quantity that was not recorded, as that of a term of strength 0, is left out; empty where nothing was.
    """
    panels = {title: panel for title, panel in PANELS.items() if set(panel[0]) & set(curves[0])}
    if not panels:
        return ""
    num_rows = (len(panels) + 1) // 2

    def draw(figure: Figure) -> None:
        cells = figure.subplots(num_rows, 2, squeeze=False).ravel()
        for axes, (title, (columns, chance, top)) in zip(cells, panels.items(), strict=False):
            if chance is not None:
                axes.axhline(chance, color=MUTED, lw=1, ls="--", label="by chance")
            recorded = {column: label for column, label in columns.items() if column in curves[0]}
            for (column, label), colour in zip(recorded.items(), MODEL_COLOURS, strict=False):
                _draw_curves(axes, curves, column, label, colour)
            axes.set_title(title)
            axes.set_ylim(bottom=0, top=top)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(True)
            if len(recorded) > 1 or chance is not None:
                axes.legend(fontsize=8)
        for axes in cells[len(panels) :]:
            axes.set_axis_off()
        for axes in cells[max(0, len(panels) - 2) : len(panels)]:
            axes.set_xlabel("epoch")

    return svg(draw, (10, 2.8 * num_rows))


def _draw_curves(axes: Axes, curves: Sequence[pd.DataFrame], column: str, label: str, colour: str) -> None:
    first, *others = curves
    for curve in reversed(others):
        axes.plot(curve["epoch"], curve[column], color=colour, lw=0.7, alpha=0.6)
    marker = "o" if len(first) < 3 else ""
    axes.plot(first["epoch"], first[column], color=colour, lw=1.8, marker=marker, label=label)


def _score(
    scores: pd.DataFrame, domain: str, method: str, key: str = "dice", structure: str = MEAN
) -> tuple[str, str]:
    row = scores.reindex([(domain, method, key, structure)]).iloc[0]
    digits = tables.metric_of(key).digits
    return number(row["mean"], digits), interval(row["low"], row["high"], digits)


def _percent(share: float) -> str:
    return f"{round(100 * share)} %".replace("-", tables.MINUS) if math.isfinite(share) else DASH


def _stage(method: str) -> str:
    return "evaluate-adaptation" if is_adaptation(method) else "evaluate"


def _folders(artefacts: Artefacts, method: str) -> list[Path]:
    evaluation = artefacts.top / paths.EVALUATION
    return [paths.of_run(evaluation, method, seed) / "target" for seed in artefacts.seeds]


def _read_target(artefacts: Artefacts, method: str, name: str) -> list[pd.DataFrame]:
    """Read a table of every seed of a method on the target."""
    columns = CHOICE_COLUMNS if name == CHOICES_FILE else CASE_COLUMNS
    folders = _folders(artefacts, method)
    return [
        read_table(folder / name, _stage(method), columns, may_be_empty=name == CHOICES_FILE)
        for folder in folders
    ]


def _median_overlay(artefacts: Artefacts, scores: pd.DataFrame) -> CaseOverlay:
    """Draw the median test case of the target by the adapted network's mean Dice, without and with adaptation."""
    methods = [name for name in (LOWER, OURS) if name in scores.loc["target"].index.unique("method")]
    cases = {
        name: pd.concat(_read_target(artefacts, name, "cases.csv"), keys=artefacts.seeds) for name in methods
    }
    dice = {name: own.groupby([pd.Grouper(level=0), "pair"])["dice"].mean() for name, own in cases.items()}
    means = {name: own.groupby("pair").mean() for name, own in dice.items()}
    pair = next(pair for pair, rank in rank_cases(means[OURS]).items() if "median" in rank)
    files = find_cropped(artefacts.top / paths.TARGET / TARGET_CASES / pair)
    truth = existing(artefacts.top / paths.TARGET_LABELS / pair / NATIVE, "target")
    predictions = {
        adapted_title_of(name): existing(
            _folders(artefacts, name)[0] / f"predictions/{pair}.nii.gz", _stage(name)
        )
        for name in methods
    }
    printed = {adapted_title_of(name): float(own[pair]) for name, own in means.items()}
    return draw_overlay("median", pair, {**files, "truth": truth}, predictions, printed, artefacts.options)
