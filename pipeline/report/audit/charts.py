"""Which charts each group of claims has, and what a reader needs to know to read them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.report.artefacts.audit_records import Tables
from pipeline.report.audit.attention_figures import attention_chart, cost_chart
from pipeline.report.audit.bound_figures import lipschitz_chart, robustness_chart
from pipeline.report.audit.flow_figures import entropy_chart, flow_chart
from pipeline.report.audit.learning_figures import approximation_chart, balancing_chart, generalisation_chart


@dataclass(frozen=True)
class Chart:
    """A picture's `data:` address, what it shows for those who do not see it, and its caption."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class _Drawing:
    draw: Callable[[Tables], str]
    alt: str
    caption: str


_DRAWINGS: Mapping[str, Sequence[_Drawing]] = MappingProxyType({
    "attention": (_Drawing(
        attention_chart,
        "Relative differences of the three properties of cross attention, per variant of attention",
        "Four variants of cross attention on random features, and the one of the trained network on its own. A mark in "
        "the green area agrees with the statement; no difference at all is drawn at the left edge. Values a or b: the "
        "stream that the answer is taken from.",
    ),),
    "cost": (_Drawing(
        cost_chart,
        "Operations and time of cross attention over the number of tokens and of channels, both axes logarithmic",
        "Both axes are logarithmic, so the exponent is the slope: 2 means that twice the tokens cost four times as "
        "much. Attention in windows looks at a fixed number of neighbours only. Times are of this machine.",
    ),),
    "approximation": (_Drawing(
        approximation_chart,
        "Error on known functions over width and depth, and Dice while one case is learned by heart",
        "Error after the same number of training steps on known functions of CT and MR; lower is better, 1 is what a "
        "constant output achieves. A finite network that errs less when it is larger agrees with the claim, and does "
        "not prove it. Right: how far one case can be learned by heart.",
    ),),
    "flow": (
        _Drawing(
            flow_chart,
            "Mutual information of CT and MR features over the layers by two estimators, and what each layer adds",
            "The plot that the paper does not show. Above: what a CT and an MR token at the same place tell about each "
            "other, from the images to the last decoder layer, by two estimators. Whiskers: 95 % intervals over the "
            "test pairs. The paper says that the blue line never falls. Different subjects: the CT of one pair with "
            "the MR of another, what the network's mixing alone creates. Below: what each layer adds; bars after "
            "training, points before it. The paper says that no bar is below 0 and that each is taller than the one "
            "before.",
        ),
        _Drawing(
            entropy_chart,
            "Shared information and entropy of quantised CT and MR features over the layers",
            "Of quantised features after training. Corollary 1 says that the blue line stays below both others; grey: "
            "the room that is left.",
        ),
    ),
    "balancing": (_Drawing(
        balancing_chart,
        "Distance to Pareto stationarity over steps, weights of the losses over epochs, and gradients' norms",
        "Three rules of weighing the losses, each in its colour. Distance: length of the shortest weighted sum of the "
        "losses' gradients; 0 where no step improves all of them at once. Weights share 1 among the losses. Bars: "
        "length of the gradient that each rule gives to the trained network; black: the shortest that any weights "
        "give.",
    ),),
    "generalisation": (_Drawing(
        generalisation_chart,
        "Rademacher complexity, the bound that follows, and the measured generalisation gap",
        "Of the last layer. Gap: share of wrong voxels in test pairs less the loss on training pairs. The axis is "
        "logarithmic. A gap cannot be above 1, so that a bound above 1 is true of any network, trained or not.",
    ),),
    "lipschitz": (_Drawing(
        lipschitz_chart,
        "Bound on the network's sensitivity part by part beside the largest sensitivity found, and how the "
        "sensitivity of attention grows",
        "Bars: how much larger than the change of the images the change of the features can be at most, up to this "
        "part of the network, as a power of ten. Orange: the largest ratio that a search for the worst change found. "
        "The curve: how sensitive one attention becomes when its inputs grow, or when one key shrinks; a "
        "curve that leaves the dashed line behind has no bound that fits all inputs.",
    ),),
    "robustness": (_Drawing(
        robustness_chart,
        "Mean Dice over the strength of random disturbances and of an attack",
        "Mean Dice of the test pairs under random disturbances (solid) and under the worst change that a search found "
        "(dashed). At the same size of the change (right, logarithmic axis) the gap between noise and attack is what "
        "random tests do not tell. Small points: single cases.",
    ),),
})  # fmt: skip


def group_charts(group: str, tables: Tables) -> list[Chart]:
    """Draw the charts of a group of claims; those whose tables are missing are left out."""
    drawn = [(drawing.draw(tables), drawing) for drawing in _DRAWINGS.get(group, ())]
    return [Chart(source, drawing.alt, drawing.caption) for source, drawing in drawn if source]
