"""Where the reference network stands among the networks by its mean scores: first or not."""

from collections.abc import Sequence

from crossmodalnet.metrics.scores import METRICS, Metric
from pipeline.evaluation.score_cases import MEAN
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Result
from pipeline.report.charts.tables import enumerate_words

# The paper's measures.
KEYS = ("dice", "iou", "hd95_mm")
MEAN_TITLES = {"dice": "Dice", "iou": "MIoU", "hd95_mm": "HD95"}
VERDICTS = {
    "supported": "a supported difference",
    "not_supported": "not a supported difference",
    "underpowered": "too few cases to tell",
}


def summary(artefacts: Artefacts) -> list[str]:
    """Say in a sentence in what the first model of params.yaml is first; nothing where it is alone."""
    if len(artefacts.models) < 2:
        return []
    behind = not_first(artefacts)
    ahead = [MEAN_TITLES[key] for key in KEYS if MEAN_TITLES[key] not in behind]
    parts = [f"first in {enumerate_words(ahead)}"] if ahead else []
    parts += [f"not first in {enumerate_words(behind)}"] if behind else []
    return [f"Among {len(artefacts.models)} networks, {artefacts.reference.title} is {' and '.join(parts)}."]


def not_first(artefacts: Artefacts) -> list[str]:
    """List the measures in which the first model of params.yaml is not first."""
    return [
        MEAN_TITLES[metric.key]
        for metric in METRICS
        if metric.key in KEYS
        and len(order := ranked(artefacts.models, metric)) > 1
        and order[0] is not artefacts.reference
    ]


def ranked(results: Sequence[Result], metric: Metric) -> list[Result]:
    """Order methods by their mean, best first; those without one are left out."""
    known = [result for result in results if (metric.key, MEAN) in result.estimates]
    sign = -1 if metric.higher_is_better else 1
    return sorted(known, key=lambda result: sign * result.estimates[metric.key, MEAN].mean)
