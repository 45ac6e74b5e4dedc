"""Evaluate a trained model: on pairs, with a modality missing, and on the target."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import write_label_map
from crossmodalnet.metrics.overlap import mean_dice
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.networks.common.device import find_device
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.kept_cases import find_or_compute
from pipeline.evaluation.misregistration import measure_misregistration, misregistration_means
from pipeline.evaluation.prediction import Evaluator, cleaned, predict_input, predict_labels
from pipeline.evaluation.score_cases import (
    ALONE,
    CHOICE_COLUMNS,
    CHOICES_FILE,
    DECIMALS,
    MISREGISTRATION_FILE,
    VIEW_TITLES,
    Evaluation,
    View,
    count_stray,
    prediction_file,
    score_pair,
    write_tables,
)
from pipeline.preparation.cases import PAIRS, TARGET_CASES, CaseSet
from pipeline.preparation.tensors import labelled
from pipeline.runtime.paths import REGISTERED
from pipeline.runtime.workers import CaseCost, Work
from pipeline.training.checkpoint import find_candidates, load_model

logger = logging.getLogger(__name__)
# Measured (docs/clusters.md).
COST = CaseCost(base_mb=1100, bytes_per_voxel=32)
# About one CT of real size.
FEW_VOXELS = 2**26


class EvaluateTask(NamedTuple):
    """A case to segment and score; `kept` is its cache folder."""

    name: str
    truth: Path
    prediction: Path
    cases: CaseSet
    params: EvaluateConfig
    view: View
    missing: tuple[str, ...]
    kept: Path | None


def evaluate_cases(
    folder: Path, evaluator: Evaluator, cases: CaseSet, names: Sequence[str], view: View = View.PAIR
) -> Evaluation:
    """Segment and score cases on their original grids; write label maps and tables.

    Predictions from the MR alone are scored against the registered label of the MR.

    Args:
        names: labelled cases of the set.
        view: images that the network sees; ignored for cases that are no pairs.

    Raises:
        DataError: a case has no label map.
    """
    truths = cases.truths()
    if view is View.MR_ALONE:
        # The MR may show another person's heart.
        truths = {path.parent.name: path for path in sorted(REGISTERED.glob("*/mr_label.nii.gz"))}
    if unknown := [name for name in names if name not in truths]:
        raise DataError(f"{unknown[0]}: no label map of it is found: every test case needs one to be scored")
    params, missing, kept = evaluator.params, evaluator.missing, evaluator.kept
    tasks = [
        EvaluateTask(
            name, truths[name], prediction_file(folder, name), cases, params, view, missing,
            kept.case(cases.folder / name, truths[name], params, view, missing) if kept else None,
        )
        for name in names
    ]  # fmt: skip
    work = Work("evaluate", COST, [task.truth for task in tasks], kept=bool(kept))
    return write_tables(folder, evaluator.compute(evaluate_case, tasks, work, FEW_VOXELS), params)


def evaluate_case(task: EvaluateTask, model: LoadedModel) -> pd.DataFrame:
    """Segment a case, write its label map and score it, or reuse a kept result."""

    def segment_and_score() -> pd.DataFrame:
        labels = predict_labels(model, task.cases.read_unlabelled(task.name), task.params, task.view)
        write_label_map(task.prediction, cleaned(labels, task.params))
        tolerance_mm, stray = task.params.nsd_tolerance_mm, count_stray(labels)
        return score_pair(task.name, task.prediction, task.truth, tolerance_mm, stray, task.missing)

    return find_or_compute(task.kept, segment_and_score, task.prediction)


def evaluate_pairs(folder: Path, evaluator: Evaluator, names: Sequence[str]) -> dict[str, float]:
    """Score a model of pairs with one modality missing and with the MR misregistered.

    Single-stream networks are skipped. `ct_alone` and `mr_alone` need training with modality dropout.
    """
    metrics: dict[str, float] = {}
    card = evaluator.model.card
    if card.network.get("streams", "both") != "both":
        return metrics
    if card.train.get("modality_dropout"):
        for view in ALONE:
            evaluation = evaluate_cases(folder / view, evaluator, PAIRS, names, view)
            logger.info("%s: %s", VIEW_TITLES[view], evaluation.summary)
            metrics[view.value] = evaluation.metrics["dice"]
    if evaluator.params.misregistration_mm:
        table = measure_misregistration(evaluator, PAIRS, names)
        table.to_csv(folder / MISREGISTRATION_FILE, index=False, float_format=f"%.{DECIMALS}f")
        shown = ", ".join(f"{dice:.3f} at {key}" for key, dice in misregistration_means(table).items())
        logger.info("mean Dice with the MR misregistered: %s", shown)
    return metrics


def evaluate_target(folder: Path, evaluator: Evaluator, trained: Path, names: Sequence[str]) -> Evaluation:
    """Score an adapted model, and all candidate checkpoints, on labelled cases of the target.

    choices.csv has the Dice of each candidate. No other code reads target labels after training.
    """
    evaluation = evaluate_cases(folder, evaluator, TARGET_CASES, names)
    rows = []
    for epoch, file in find_candidates(trained).items():
        candidate = load_model(trained, file.name)
        dice = _target_dice(candidate, names, evaluator.params)
        rows.append((epoch, epoch == candidate.card.best_epoch, dice))
    table = pd.DataFrame(rows, columns=list(CHOICE_COLUMNS))
    table.to_csv(folder / CHOICES_FILE, index=False, float_format=f"%.{DECIMALS}f")
    return evaluation


def _target_dice(model: LoadedModel, names: Sequence[str], params: EvaluateConfig) -> float:
    """Average Dice over structures, then over cases, on the working grid."""
    model.network.to(find_device(params.device, "evaluate.device"))
    scores = []
    for name in names:
        case = labelled(TARGET_CASES.read(name), model.card.intensity)
        probabilities = predict_input(model, case.image, name, params)
        scores.append(mean_dice(probabilities.argmax(0), case.label, len(probabilities)))
    return sum(scores) / len(scores)
