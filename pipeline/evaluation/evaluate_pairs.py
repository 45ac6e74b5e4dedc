"""What is measured of a model of pairs beside its scores: one modality missing, and an MR in the wrong place."""

import logging
from collections.abc import Sequence
from pathlib import Path

from crossmodalnet.networks.common.card import LoadedModel, ModelCard
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.evaluate_cases import evaluate_cases
from pipeline.evaluation.kept_cases import KeptCases
from pipeline.evaluation.misregistration import measure_misregistration, misregistration_means
from pipeline.evaluation.model_workers import ModelWorkers
from pipeline.evaluation.tables import DECIMALS, MISREGISTRATION_FILE
from pipeline.evaluation.views import ALONE, VIEW_TITLES
from pipeline.preparation.sets import PAIRS

logger = logging.getLogger(__name__)


def evaluate_pairs(
    folder: Path,
    model: LoadedModel,
    names: Sequence[str],
    params: EvaluateConfig,
    missing: Sequence[str] = (),
    workers: ModelWorkers | None = None,
    kept: KeptCases | None = None,
) -> dict[str, float]:
    """Measure what a model of pairs is worth where a pair is not as it should be; write into `folder`.

    A network of one stream has no second image that could be missing or displaced.

    Args:
        folder: folder of the evaluation; `ct_alone` and `mr_alone` come into it where the model can do without a
            modality, and misregistration.csv.
        model: model with its network on the device it shall run on.
        names: names of test pairs.
        params: section `evaluate`.
        missing: abbreviations of structures that the label maps do not delineate: not scored.
        workers: how to compute large cases side by side; None: one after the other in this process.
        kept: where finished cases are kept for the next run, should this one be killed; None: they are not.

    Returns:
        Figures that the metrics file holds beside the headline: mean Dice of `ct_alone` and `mr_alone`.

    Raises:
        DataError: a pair or one of its label maps is missing or damaged.
    """
    metrics: dict[str, float] = {}
    if not takes_both(model.card):
        return metrics
    if knows_missing(model.card):
        for view in ALONE:
            found = evaluate_cases(folder / view, model, PAIRS, names, params, view, missing, workers, kept)
            logger.info("%s: %s", VIEW_TITLES[view], found.summary)
            metrics[view.value] = found.metrics["dice"]
    if params.misregistration_mm:
        table = measure_misregistration(model, PAIRS, names, params, missing, workers, kept)
        table.to_csv(folder / MISREGISTRATION_FILE, index=False, float_format=f"%.{DECIMALS}f")
        shown = ", ".join(f"{dice:.3f} at {key}" for key, dice in misregistration_means(table).items())
        logger.info("mean Dice with the MR displaced: %s", shown)
    return metrics


def takes_both(card: ModelCard) -> bool:
    """Tell whether a network looks at both images of a pair: all do but those of one stream."""
    return bool(card.network.get("streams", "both") == "both")


def knows_missing(card: ModelCard) -> bool:
    """Tell whether a network has seen in training that a modality can be missing; older cards do not say so."""
    return bool(card.train.get("modality_dropout", 0) > 0)
