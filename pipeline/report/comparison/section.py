"""What section Comparison shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossmodalnet.metrics.scores import METRICS, Metric
from pipeline.comparison.titles import title_of
from pipeline.config.variants import is_ablation
from pipeline.report.artefacts.comparison_records import Difference, Differences, StatementRecord
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.charts.standing import KEYS, MEAN_TITLES
from pipeline.report.charts.tables import DASH, Table
from pipeline.report.comparison.figures import rank_chart
from pipeline.report.comparison.policy import departures, policy
from pipeline.report.comparison.rates import rate_table

KINDS = {
    "first": "first",
    "not_first": "not first",
    "supported": "supported",
    "not_supported": "not supported",
    "underpowered": "underpowered",
    "note": "note",
}
ABLATIONS = "ablations"


@dataclass(frozen=True)
class MetricStatements:
    """Statements on one metric: its title, whether it is one of the paper's, and label, kind and text of each."""

    title: str
    main: bool
    entries: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class ComparisonSection:
    """What the template fills in.

    Attributes:
        policy: topics and sentences.
        departures: settings that were not the same for all.
        rates: learning rates.
        rate_warnings: networks that do not run at their best.
        untuned: networks without any search.
        standings: who is first, for each of the paper's measures, and what holds for all tests.
        ranks: chart, or empty where there are no ranks.
        said: the other statements, by metric.
        pairwise: heading and table per family of tests.
    """

    policy: Sequence[tuple[str, str]]
    departures: Sequence[str]
    rates: Table
    rate_warnings: Sequence[str]
    untuned: Sequence[str]
    standings: MetricStatements
    ranks: str
    said: Sequence[MetricStatements]
    pairwise: Sequence[tuple[str, Table]]


def comparison_section(artefacts: Artefacts) -> ComparisonSection | None:
    """Make the section; none where there is one network only."""
    if len(artefacts.models) < 2:
        return None
    rates, warnings = rate_table(artefacts)
    found = artefacts.comparison
    spoken = [statement for statement in found.statements if statement.family != ABLATIONS]
    standings = [statement for statement in spoken if _is_standing(statement)]
    differences = {key: value for key, value in found.differences.items() if not is_ablation(key[2])}
    return ComparisonSection(
        policy=policy(artefacts),
        departures=departures(artefacts.trainings),
        rates=rates,
        rate_warnings=warnings,
        untuned=[t.title for t in artefacts.trainings if not artefacts.trials[t.name]],
        standings=MetricStatements("", True, entries(sorted(standings, key=is_general))),
        ranks="" if found.ranks.empty else rank_chart(artefacts.results, found.ranks),
        said=_said([statement for statement in spoken if statement not in standings]),
        pairwise=[
            *pairwise_tables(differences),
            *((f"Everyone against everyone, {title}", t) for title, t in pairwise_tables(found.all_pairs)),
        ],
    )


def entries(statements: Sequence[StatementRecord]) -> list[tuple[str, str, str]]:
    """Print statements: label, kind, text."""
    return [(KINDS.get(s.kind, s.kind.replace("_", " ")), s.kind, s.text) for s in statements]


def _is_standing(statement: StatementRecord) -> bool:
    """Tell what belongs on top: who is first by the paper's measures, and what holds for all tests."""
    if statement.kind in ("first", "not_first"):
        return statement.metric in KEYS
    return is_general(statement)


def is_general(statement: StatementRecord) -> bool:
    """Tell whether a statement is about no measure in particular."""
    return statement.metric not in [metric.key for metric in METRICS]


def _said(statements: Sequence[StatementRecord]) -> list[MetricStatements]:
    """Group statements by metric, in the order in which the metrics are printed."""
    groups = []
    for metric in METRICS:
        if found := entries([s for s in statements if s.metric == metric.key]):
            groups.append(
                MetricStatements(MEAN_TITLES.get(metric.key, metric.title), metric.key in KEYS, found)
            )
    return groups


def pairwise_tables(differences: Differences) -> list[tuple[str, Table]]:
    """Print tests, a heading and a table per metric."""
    headings = (
        "Method a", "Method b", "a − b", "95 % interval", "p (Wilcoxon)", "p (Holm)", "Effect size", "Verdict",
    )  # fmt: skip
    tables = []
    for metric in METRICS:
        rows = [
            [title_of(a), title_of(b), *_row(difference, metric)]
            for (key, a, b), difference in differences.items()
            if key == metric.key
        ]
        if rows:
            unit = f", {metric.unit}" if metric.unit else ""
            better = "above 0: a is better" if metric.higher_is_better else "below 0: a is better"
            numeric = [False, False, True, True, True, True, True, False]
            name = MEAN_TITLES.get(metric.key, metric.title)
            tables.append((f"{name}{unit} ({better})", Table(headings, numeric, rows)))
    return tables


def _row(difference: Difference, metric: Metric) -> list[str]:
    return [
        signed(difference.mean, metric),
        interval(difference, metric),
        f"{difference.p_value:.3g}",
        f"{difference.p_holm:.3g}",
        signed(difference.effect_size, 2),
        KINDS[difference.verdict],
    ]


def signed(value: float, digits: Metric | int) -> str:
    """Print with sign and the metric's decimals; a minus is a minus sign."""
    places = digits if isinstance(digits, int) else digits.digits
    rounded = round(value, places) + 0.0  # no minus zero
    return DASH if value != value else f"{rounded:+.{places}f}".replace("-", "−")


def interval(difference: Difference, metric: Metric) -> str:
    """Print the interval of a difference."""
    if difference.low != difference.low or difference.high != difference.high:
        return DASH
    return f"{signed(difference.low, metric)} to {signed(difference.high, metric)}"
