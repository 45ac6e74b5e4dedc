"""What is shown of misregistration: a chart, a table and sentences; part of section Comparison, or of Charts."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.comparison.misregistration import FAR_MM
from pipeline.comparison.titles import title_of
from pipeline.config.variants import OURS, is_ablation
from pipeline.report.artefacts.comparison_records import MisregistrationRecord
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimate
from pipeline.report.charts.drawing import metric_of
from pipeline.report.charts.tables import DASH, Table, format_interval, format_value
from pipeline.report.comparison.section import ABLATIONS, MetricStatements, entries
from pipeline.report.robustness.misregistration_figures import misregistration_chart


@dataclass(frozen=True)
class MisregistrationSection:
    """What the template fills in.

    Attributes:
        chart: Dice over displacement.
        degrees: rotation at the largest displacement.
        table: table in numbers, a row per method.
        said: who loses least, and what is supported against the other networks.
        ablations: statements that are supported against the ablations.
    """

    chart: str
    degrees: str
    table: Table
    said: MetricStatements
    ablations: MetricStatements


def misregistration_section(artefacts: Artefacts) -> MisregistrationSection | None:
    """Make the section; none where nothing was measured."""
    found = artefacts.comparison.misregistration
    if found is None:
        return None
    measured = [str(name) for name in dict.fromkeys(found.table["method"])]
    variants = [name.removeprefix(f"{OURS}-") for name in measured if is_ablation(name)]
    parts = [statement for statement in found.statements if statement.family == ABLATIONS]
    return MisregistrationSection(
        chart=misregistration_chart(artefacts.models, variants, found.table),
        degrees=f"{found.table['turned_degrees'].max():g}",
        table=_table(found, measured),
        said=MetricStatements(
            "", True, entries([statement for statement in found.statements if statement not in parts])
        ),
        ablations=MetricStatements("", False, entries(parts)),
    )


def _table(found: MisregistrationRecord, measured: Sequence[str]) -> Table:
    """Print Dice at every displacement, and the mean loss at the far ones where there are any."""
    shifts = sorted(found.table["moved_mm"].unique())
    dice = found.table.set_index(["method", "moved_mm"])["dice"]
    losses = found.losses.set_index("method")[["loss", "low", "high"]].astype(float).to_dict("index")
    metric = metric_of("dice")
    headings = ["Method", *(f"{shift:g} mm" for shift in shifts)]
    headings += [f"Lost from {FAR_MM:g} mm on", "95 % interval"] if losses else []
    rows = []
    for name in measured:
        row = [title_of(name), *(format_value(float(dice[name, shift]), metric) for shift in shifts)]
        if losses:
            lost = losses.get(name)
            estimate = Estimate(lost["loss"], lost["low"], lost["high"]) if lost else None
            row += (
                [format_value(estimate.mean, metric), format_interval(estimate, metric)]
                if estimate
                else [DASH] * 2
            )
        rows.append(row)
    return Table(headings, [False] + [True] * (len(headings) - 1), rows)
