"""Adaptation to another domain: scores in both domains between their bounds, a case, and the curves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRIC
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
from pipeline.report.charts import MODEL_COLOURS, MUTED, draw_curves, svg
from pipeline.report.overlays import CaseOverlay, draw_planes, rank_cases
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
    scores = read_compared(artefacts, compared.SCORES, [*columns, "mean", "low", "high"])
    scores = scores.set_index(columns)[["mean", "low", "high"]]
    gap = read_compared(artefacts, compared.GAP, GAP_COLUMNS, optional=True)
    gains = read_compared(artefacts, compared.STRUCTURES, compared.STRUCTURE_COLUMNS, optional=True)
    statements = read_statements(artefacts, compared.STATEMENTS)
    published = pd.read_csv(Path(__file__).with_name("adaptation_literature.csv"))
    published = published[published["scenario"] == artefacts.domain.scenario].drop(columns="scenario")
    settings = artefacts.card(OURS).get("adaptation") or {}
    terms = [f"{title} ({settings[key]:g})" for key, title in TERM_TITLES.items() if settings.get(key)]
    labelled = "target" in scores.index.unique("domain")
    choices = _read_target(artefacts, OURS, CHOICES_FILE, CHOICE_COLUMNS) if labelled else []
    return {
        "domain": artefacts.domain,
        "target_source": artefacts.adapt.target.source,
        "terms": tables.enumerate_words(terms),
        "main": [s["text"] for s in statements if s["kind"] != "part"],
        "parts": [s["text"] for s in statements if s["kind"] == "part"],
        "methods": method_table(scores, gap),
        "by_structure": structure_table(scores, gains) if labelled else None,
        "curves": adaptation_chart([artefacts.curves[OURS, seed] for seed in artefacts.seeds]),
        "hindsight": hindsight(choices) if choices else None,
        "published": None if published.empty else tables.frame_table(published),
        "overlay": _median_overlay(artefacts, scores) if labelled else None,
    }


def method_table(scores: pd.DataFrame, gap: pd.DataFrame) -> Table:
    """Print Dice of every method in both domains, HD95 on the target, and the share of the gap."""
    shares = gap[gap["structure"] == MEAN].set_index("method")[["share", "low", "high"]].astype(float)
    rows = []
    for name in scores.loc["source"].index.unique("method"):
        row = {"Method": adapted_title_of(name)}
        for domain in ("source", "target"):
            mean, ends = _score(scores, domain, name, "dice", MEAN)
            row |= {f"Dice, {domain}": mean, f"95 % interval, {domain}": ends}
        row["HD95, target, mm"] = _score(scores, "target", name, "hd95_mm", MEAN)[0]
        share, low, high = map(_percent, shares.reindex([name]).iloc[0])
        ends = DASH if low == DASH else f"{low} to {high}"
        row |= {"Share of the gap": share, "95 % interval, share": ends}
        if name in (LOWER, UPPER) and len(shares):
            bound = "0 %" if name == LOWER else "100 %"
            row |= {"Share of the gap": bound, "95 % interval, share": "by definition"}
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
                row[adapted_title_of(name)] = _score(scores, "target", name, "dice", structure)[0]
        if len(gains):
            gain, low, high = gains.reindex([structure]).to_numpy()[0]
            row[f"{adapted_title_of(OURS)} − source only"] = signed(gain, 3)
            row["95 % interval"] = interval(low, high, 3, sign=True)
        rows.append(row)
    return tables.make_table(rows)


def hindsight(choices: Sequence[pd.DataFrame]) -> dict[str, Any] | None:
    """Compare the Dice of the weights kept with the best there was, by a table per seed; None without a choice."""
    kept = [table.loc[table["chosen"].astype(bool), "target_dice"] for table in choices]
    if any(own.empty for own in kept):
        return None
    return {
        "kept": sum(float(own.iloc[0]) for own in kept) / len(kept),
        "best": sum(float(table["target_dice"].max()) for table in choices) / len(choices),
        "epochs": max(len(table) for table in choices),
    }


def adaptation_chart(curves: Sequence[pd.DataFrame]) -> str:
    """Draw what is recorded of an adaptation, the first seed thick and the others thin; empty without records."""
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
                draw_curves(axes, curves, column, colour, label=label)
            axes.set(title=title, ylim=(0, top), xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if len(recorded) > 1 or chance is not None:
                axes.legend()
        for axes in cells[len(panels) :]:
            axes.set_axis_off()

    return svg(draw, (10, 2.8 * num_rows))


def _score(scores: pd.DataFrame, *key: str) -> tuple[str, str]:
    """Print the mean and its interval of a domain, method, metric and structure."""
    mean, low, high = scores.reindex([key]).to_numpy(float)[0]
    digits = METRIC[key[2]].digits
    return number(mean, digits), interval(low, high, digits)


def _percent(share: float) -> str:
    return f"{round(100 * share)} %".replace("-", tables.MINUS) if math.isfinite(share) else DASH


def _stage(method: str) -> str:
    return "evaluate-adaptation" if is_adaptation(method) else "evaluate"


def _read_target(artefacts: Artefacts, method: str, name: str, columns: Sequence[str]) -> list[pd.DataFrame]:
    folders = [_target_folder(artefacts, method, seed) for seed in artefacts.seeds]
    empty = name == CHOICES_FILE
    return [read_table(folder / name, _stage(method), columns, may_be_empty=empty) for folder in folders]


def _target_folder(artefacts: Artefacts, method: str, seed: int) -> Path:
    return paths.of_run(artefacts.top / paths.EVALUATION, method, seed) / "target"


def _median_overlay(artefacts: Artefacts, scores: pd.DataFrame) -> CaseOverlay:
    """Draw the median test case of the target by the adapted network's mean Dice, without and with adaptation."""
    top, dice = artefacts.top, {}
    for name in (LOWER, OURS):
        if name in scores.loc["target"].index.unique("method"):
            seeds = _read_target(artefacts, name, "cases.csv", CASE_COLUMNS)
            means = pd.concat([own.groupby("pair")["dice"].mean() for own in seeds])
            dice[name] = means.groupby("pair").mean()
    pair = next(pair for pair, rank in rank_cases(dice[OURS]).items() if "median" in rank)
    files = find_cropped(top / paths.TARGET / TARGET_CASES / pair)
    files["truth"] = existing(top / paths.TARGET_LABELS / pair / NATIVE, "target")
    predictions = {}
    for name in dice:
        path = _target_folder(artefacts, name, artefacts.seeds[0]) / f"predictions/{pair}.nii.gz"
        predictions[adapted_title_of(name)] = existing(path, _stage(name))
    planes = draw_planes(files, predictions, artefacts.options)
    printed = {adapted_title_of(name): float(own[pair]) for name, own in dice.items()}
    return CaseOverlay("median", pair, printed, planes)
