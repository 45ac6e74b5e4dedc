"""What section Adaptation to another domain shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.adaptation import LOWER, UPPER
from pipeline.comparison.scores import MEAN4
from pipeline.comparison.titles import adapted_title_of
from pipeline.config.sections import ReportConfig
from pipeline.config.variants import OURS
from pipeline.evaluation.score_cases import MEAN
from pipeline.report.adaptation.figures import TERMS, adaptation_chart
from pipeline.report.artefacts.adaptation_records import AdaptationRecord, Roles
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimate, Estimates
from pipeline.report.charts.drawing import metric_of
from pipeline.report.charts.overlays import CaseOverlay, target_overlay
from pipeline.report.charts.tables import (
    DASH,
    Table,
    enumerate_words,
    format_interval,
    format_value,
    frame_table,
)
from pipeline.report.comparison.section import signed

PUBLISHED = Path(__file__).with_name("literature.csv")
TARGETS = {
    "phantom": "those of a second cohort of phantoms",
    "unlabelled": "those subjects of the cohort that have no labels",
    "mmwhs": "those of another cohort of patients",
}
MODALITIES = {"ct_to_mr": ("CT", "MR"), "mr_to_ct": ("MR", "CT")}
MEAN_ROWS = {MEAN: "mean of seven", MEAN4: "mean of four (AO, LA, LV, Myo)"}


@dataclass(frozen=True)
class AdaptationSection:
    """What the template fills in.

    Attributes:
        what: sentence on what was adapted to what, and how many cases there are.
        terms: terms that the adaptation consists of in this run.
        said: main statements.
        parts: statements on single parts.
        methods: table of all methods.
        structures: table per structure; None where the target has no labels.
        curves: chart, or empty where nothing was recorded.
        oracle: sentence on what a choice by target labels would have given; empty where that is not known.
        published: figures of others; None in the scenario cohort.
        overlay: a case; None where the target has no labels.
        num_seeds: number of seeds of the trainings.
    """

    what: str
    terms: str
    said: Sequence[str]
    parts: Sequence[str]
    methods: Table
    structures: Table | None
    curves: str
    oracle: str
    published: Table | None
    overlay: CaseOverlay | None
    num_seeds: int


def adaptation_section(artefacts: Artefacts, params: ReportConfig) -> AdaptationSection | None:
    """Make the section; none without an adaptation."""
    record = artefacts.adaptation
    if record is None:
        return None
    training = next(t for t in artefacts.trainings if t.name == OURS)
    return AdaptationSection(
        what=_what(record),
        terms=_terms(training.card.get("adaptation") or {}),
        said=[text for kind, text in record.statements if kind != "part"],
        parts=[text for kind, text in record.statements if kind == "part"],
        methods=method_table(record),
        structures=structure_table(record) if record.target else None,
        curves=adaptation_chart(training),
        oracle=oracle_sentence(record.choices),
        published=_published(record.scenario) if record.between_modalities else None,
        overlay=target_overlay(record.case, params) if record.case else None,
        num_seeds=len(training.curves),
    )


def method_table(record: AdaptationRecord) -> Table:
    """Print every method: Dice in both domains, HD95 on the target, share of the gap, each with its interval."""
    headings = (
        "Method", "Dice, source", "95 % interval", "Dice, target", "95 % interval", "HD95, target, mm",
        "Share of the gap", "95 % interval",
    )  # fmt: skip
    shares = record.gap[record.gap["structure"] == MEAN].set_index("method").to_dict("index")
    rows = []
    for name, source in record.source.items():
        target = record.target.get(name, {})
        cells = [*_estimate(source, "dice"), *_estimate(target, "dice"), _estimate(target, "hd95_mm")[0]]
        rows.append([adapted_title_of(name), *cells, *_share(name, shares)])
    return Table(headings, [False] + [True] * (len(headings) - 1), rows)


def structure_table(record: AdaptationRecord) -> Table:
    """Print Dice on the target per structure and for the means: bounds, adapted network, and what it gains."""
    shown = [name for name in (LOWER, OURS, UPPER) if name in record.target]
    gains = record.structures.set_index("structure").to_dict("index")
    headings = ["Structure", *map(adapted_title_of, shown)]
    if gains:
        headings += [f"{adapted_title_of(OURS)} − source only", "95 % interval"]
    rows = []
    for structure in (*ABBREVIATIONS, *MEAN_ROWS):
        row = [MEAN_ROWS.get(structure, structure)]
        row += [_estimate(record.target[name], "dice", structure)[0] for name in shown]
        if gains:
            row += _gain(gains.get(structure))
        rows.append(row)
    return Table(headings, [False] + [True] * (len(headings) - 1), rows)


def oracle_sentence(choices: Mapping[int, pd.DataFrame]) -> str:
    """Say what weights chosen by the target's labels would have reached; empty where a seed has no choice."""
    kept, best = [], []
    for table in choices.values():
        chosen = table[table["chosen"].astype(bool)]["target_dice"]
        if chosen.empty:
            return ""
        kept.append(float(chosen.iloc[0]))
        best.append(float(table["target_dice"].max()))
    if not kept:
        return ""
    number = max(len(table) for table in choices.values())
    seeds = f", mean over {len(kept)} seeds" if len(kept) > 1 else ""
    epochs = "one validated epoch" if number == 1 else f"{number} validated epochs"
    return (
        f"In hindsight: the weights kept have a mean Dice of {sum(kept) / len(kept):.3f} on the target's test cases, "
        f"the best of {epochs} has {sum(best) / len(best):.3f} (on the working grid{seeds}). To find it takes the "
        "target's labels: it is not used anywhere, and stands here to show what a choice without labels costs."
    )


def _what(record: AdaptationRecord) -> str:
    if record.between_modalities:
        source, target = MODALITIES[record.scenario]
        lead = f"From labelled {source} images to {target} images of other people, one image at a time"
    else:
        lead = f"From the labelled pairs of the cohort to {TARGETS[record.target_source]}"
    return f"{lead}. Source: {_counts(record.source_names)}. Target: {_counts(record.target_names)}."


def _counts(names: Roles) -> str:
    words = {"train": "for training", "validation": "for validation", "test": "for tests"}
    return ", ".join(f"{len(cases)} {words[role]}" for role, cases in names.items())


def _terms(settings: Mapping[str, Any]) -> str:
    """List the strengths that the model card records."""
    on = [f"{title} ({settings[name]:g})" for name, title in TERMS.items() if settings.get(name)]
    if not on:
        return ""
    return f"Terms of this run, with their strengths: {enumerate_words(on)}."


def _estimate(estimates: Estimates, key: str, structure: str = MEAN) -> list[str]:
    found: Estimate | None = estimates.get((key, structure))
    if found is None:
        return [DASH, DASH]
    metric = metric_of(key)
    return [format_value(found.mean, metric), format_interval(found, metric) or DASH]


def _share(name: str, shares: Mapping[Any, Mapping[Any, Any]]) -> list[str]:
    """Print the share of the gap; the bounds are its ends by definition."""
    if name in (LOWER, UPPER):
        return ["0 %" if name == LOWER else "100 %", "by definition"] if shares else [DASH, DASH]
    row = shares.get(name)
    if row is None or row["share"] != row["share"]:
        return [DASH, DASH]
    ends = DASH if row["low"] != row["low"] else f"{_percent(row['low'])} to {_percent(row['high'])}"
    return [_percent(row["share"]), ends]


def _percent(share: float) -> str:
    return f"{round(100 * share)} %".replace("-", "−")


def _gain(row: Mapping[Any, Any] | None) -> list[str]:
    if row is None:
        return [DASH, DASH]
    metric = metric_of("dice")
    low, high = (signed(float(row[end]), metric) for end in ("low", "high"))
    return [signed(float(row["difference"]), metric), f"{low} to {high}"]


def _published(scenario: str) -> Table:
    table = pd.read_csv(PUBLISHED)
    return frame_table(table[table["scenario"] == scenario].drop(columns="scenario"))
