"""What section Ablations shows: what each part of CrossModalNet brings in Dice and HD95 and costs in time."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.comparison.titles import ABLATION_TITLES, PARTS
from pipeline.config.variants import OURS, is_ablation, method_of
from pipeline.evaluation.score_cases import MEAN
from pipeline.report.artefacts.comparison_records import Difference
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimates
from pipeline.report.charts.drawing import metric_of
from pipeline.report.charts.standing import VERDICTS, not_first
from pipeline.report.charts.tables import DASH, Table, format_value
from pipeline.report.comparison.figures import ablation_chart
from pipeline.report.comparison.section import (
    ABLATIONS,
    MetricStatements,
    entries,
    interval,
    is_general,
    pairwise_tables,
    signed,
)

HEADINGS = (
    "CrossModalNet", "Dice", "Full − this: Dice", "p (Holm)", "Full − this: HD95, mm", "Step, full / this",
    "Parameters, M",
)  # fmt: skip
UNCHANGED = 0.03  # relative step times closer to 1 than this are within the noise of timing


@dataclass(frozen=True)
class AblationSection:
    """What the template fills in.

    Attributes:
        behind: measures in which the reference network is not first.
        better: ablations with a higher mean Dice than the full network.
        sentences: sentences on what each part brings and costs.
        table: table of the ablations in numbers.
        chart: picture of the ablations.
        said: sentence on what holds for all tests of ablations.
        pairwise: heading and table of these tests, per metric.
    """

    behind: Sequence[str]
    better: Sequence[str]
    sentences: Sequence[str]
    table: Table
    chart: str
    said: MetricStatements
    pairwise: Sequence[tuple[str, Table]]


def ablation_section(artefacts: Artefacts) -> AblationSection | None:
    """Make the section; none where there is no ablation."""
    if not artefacts.ablations:
        return None
    names = list(artefacts.ablations)
    gains = {key: {name: _gain(artefacts, key, name) for name in names} for key in ("dice", "hd95_mm")}
    times = {name: step_ratio(artefacts, name) for name in names}
    found = artefacts.comparison
    tested = {key: value for key, value in found.differences.items() if is_ablation(key[2])}
    general = [s for s in found.statements if s.family == ABLATIONS and is_general(s)]
    return AblationSection(
        behind=not_first(artefacts) if artefacts.reference.name == OURS else [],
        better=[ABLATION_TITLES.get(n, n) for n in names if (gain := gains["dice"][n]) and gain.mean < 0],
        sentences=[_sentence(n, gains["dice"][n], gains["hd95_mm"][n], times[n]) for n in names],
        table=_table(artefacts, gains["dice"], gains["hd95_mm"], times),
        chart=ablation_chart(gains, times),
        said=MetricStatements("", True, entries(general)),
        pairwise=pairwise_tables(tested),
    )


def step_ratio(artefacts: Artefacts, ablation: str) -> float:
    """Step time of the full network over that of an ablation, each relative to the reference network."""
    full, variant = (artefacts.profiles[name] for name in (OURS, method_of(ablation)))
    return full.step_ratio.median / variant.step_ratio.median


def _gain(artefacts: Artefacts, key: str, ablation: str) -> Difference | None:
    return artefacts.comparison.difference(key, OURS, method_of(ablation))


def _sentence(name: str, dice: Difference | None, distance: Difference | None, ratio: float) -> str:
    part = PARTS.get(name, name)
    if dice is None:
        return f"{part}: not tested."
    verdict = f"{VERDICTS[dice.verdict]}, p = {dice.p_holm:.3g}"
    brings = f"{signed(dice.mean, metric_of('dice'))} Dice ({verdict})"
    if distance is not None:
        brings += f" and {signed(distance.mean, metric_of('hd95_mm'))} mm HD95"
    return f"{part} brings {brings}, and {_cost(ratio)}."


def _cost(ratio: float) -> str:
    if abs(ratio - 1) < UNCHANGED:
        return "costs no step time that could be measured"
    if ratio < 1:
        return f"shortens a training step to {ratio:.2f} of the time"
    return f"makes a training step {ratio:.2f} times as long"


def _table(
    artefacts: Artefacts,
    dice: dict[str, Difference | None],
    distance: dict[str, Difference | None],
    times: dict[str, float],
) -> Table:
    full = next(result for result in artefacts.models if result.name == OURS)
    first = ["full", _dice(full.estimates), *[DASH] * 3, "1.00", _size(artefacts, OURS)]
    rows = [first]
    for name, estimates in artefacts.ablations.items():
        gain, closer = dice[name], distance[name]
        p_value = f"{gain.p_holm:.3g}" if gain else DASH
        size = _size(artefacts, method_of(name))
        cells = [_dice(estimates), _printed(gain, "dice"), p_value, _printed(closer, "hd95_mm")]
        rows.append([ABLATION_TITLES.get(name, name), *cells, f"{times[name]:.2f}", size])
    return Table(HEADINGS, [False, *(True for _ in HEADINGS[1:])], rows)


def _printed(difference: Difference | None, key: str) -> str:
    if difference is None:
        return DASH
    return f"{signed(difference.mean, metric_of(key))} ({interval(difference, metric_of(key))})"


def _dice(estimates: Estimates) -> str:
    estimate = estimates.get(("dice", MEAN))
    return format_value(estimate.mean if estimate else None, metric_of("dice"))


def _size(artefacts: Artefacts, name: str) -> str:
    return f"{artefacts.profiles[name].parameters / 1e6:.2f}"
