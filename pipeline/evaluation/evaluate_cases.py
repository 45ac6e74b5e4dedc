"""Evaluation of a trained model: predictions and scores, also with a modality missing and on the target."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import write_label_map
from crossmodalnet.io.console import track
from crossmodalnet.metrics.overlap import mean_dice
from crossmodalnet.networks.common.card import LoadedModel, ModelCard
from crossmodalnet.networks.common.device import find_device
from crossmodalnet.networks.common.sliding_window import predict_probabilities
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.kept_cases import KeptCases, find_or_compute
from pipeline.evaluation.misregistration import measure_misregistration, misregistration_means
from pipeline.evaluation.prediction import (
    ALONE,
    VIEW_TITLES,
    ModelWorkers,
    View,
    cleaned,
    compute,
    predict_labels,
)
from pipeline.evaluation.score_cases import (
    CHOICE_COLUMNS,
    CHOICES_FILE,
    DECIMALS,
    MISREGISTRATION_FILE,
    Evaluation,
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


# Measured on the phantom and on a case of real size (docs/clusters.md).
COST = CaseCost(base_mb=1100, bytes_per_voxel=32)
# About one CT of real size.
FEW_VOXELS = 2**26


def evaluate_cases(
    folder: Path,
    model: LoadedModel,
    cases: CaseSet,
    names: Sequence[str],
    params: EvaluateConfig,
    view: View = View.PAIR,
    missing: Sequence[str] = (),
    workers: ModelWorkers | None = None,
    kept: KeptCases | None = None,
) -> Evaluation:
    """Segment and score cases on their original grids; write label maps and tables into `folder`.

    What was segmented from the MR of a pair alone is scored against the label of that MR, which registration has
    brought to the grid of the CT; everything else against the label of the case.

    Args:
        folder: folder of the evaluation; made if need be.
        model: model with its network on the device it shall run on.
        cases: set that the cases lie in.
        names: names of labelled cases of the set.
        params: section `evaluate`.
        view: part of a case that the network is shown; of cases that are no pairs always the whole.
        missing: abbreviations of structures that the label maps do not delineate: not scored.
        workers: how to compute large cases side by side; None: one after the other in this process.
        kept: where finished cases are kept for the next run, should this one be killed; None: they are not.

    Raises:
        DataError: a case or its label map is missing or damaged.
        ResourceError: cases that ended every process that computed them, named after all others are done.
    """
    truths = _truths(cases, view)
    if unknown := [name for name in names if name not in truths]:
        raise DataError(f"{unknown[0]}: no label map of it is found: every test case needs one to be scored")
    tasks = [
        EvaluateTask(
            name, truths[name], prediction_file(folder, name), cases, params, view, tuple(missing),
            kept.case(cases.folder / name, truths[name], params, view, tuple(missing)) if kept else None,
        )
        for name in names
    ]  # fmt: skip
    images = [task.truth for task in tasks]
    results = compute(
        evaluate_case, tasks, Work("evaluate", COST, images, kept=bool(kept)), model, workers, FEW_VOXELS
    )
    tables = {task.name: table for task, table in track(results, "evaluate", len(tasks))}
    return write_tables(folder, [tables[name] for name in names], params)


@dataclass(frozen=True)
class EvaluateTask:
    """A case to segment and score.

    Attributes:
        name: name of the case.
        truth: label map on the original grid.
        prediction: label map to write.
        cases: set that the case lies in.
        params: section `evaluate`.
        view: part of the case that the network is shown.
        missing: abbreviations of structures that are not scored.
        kept: folder where the finished case is kept; None: it is not.
    """

    name: str
    truth: Path
    prediction: Path
    cases: CaseSet
    params: EvaluateConfig
    view: View
    missing: tuple[str, ...]
    kept: Path | None = None


def evaluate_case(task: EvaluateTask, model: LoadedModel) -> pd.DataFrame:
    """Segment a case, write its label map and give its scores, as `score_pair` does; or find that done."""
    return find_or_compute(task.kept, lambda: _segment_and_score(task, model), task.prediction)


def _segment_and_score(task: EvaluateTask, model: LoadedModel) -> pd.DataFrame:
    labels = predict_labels(model, task.cases.read_unlabelled(task.name), task.params, task.view)
    write_label_map(task.prediction, cleaned(labels, task.params))
    return score_pair(
        task.name,
        task.prediction,
        task.truth,
        task.params.nsd_tolerance_mm,
        count_stray(labels),
        task.missing,
    )


def _truths(cases: CaseSet, view: View) -> Mapping[str, Path]:
    # The label of the CT is not that of the heart in the MR, which is another person's, or lies otherwise.
    if view is View.MR_ALONE:
        return {path.parent.name: path for path in sorted(REGISTERED.glob("*/mr_label.nii.gz"))}
    return cases.truths()


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


@dataclass(frozen=True)
class CandidateScore:
    """Weights that could have been kept.

    Attributes:
        epoch: after which they were validated, from 1.
        chosen: whether they are those kept, without a look at target labels.
        target_dice: mean over the labelled target test cases of their mean Dice, on the working grid.
    """

    epoch: int
    chosen: bool
    target_dice: float


def write_choices(folder: Path, model: Path, names: list[str], params: EvaluateConfig) -> None:
    """Score all weights that were validated in training, and write `choices.csv`: what an oracle would have kept.

    Args:
        folder: folder to write into.
        model: model folder, with the candidates of an adaptation or without any.
        names: names of labelled target cases.
        params: overlap and device.
    """
    device = find_device(params.device, "evaluate.device")
    choices = []
    for epoch, file in find_candidates(model).items():
        candidate = load_model(model, file.name)
        dice = _target_dice(candidate, names, params, device)
        choices.append(CandidateScore(epoch, epoch == candidate.card.best_epoch, dice))
    table = pd.DataFrame([asdict(choice) for choice in choices], columns=list(CHOICE_COLUMNS))
    table.to_csv(folder / CHOICES_FILE, index=False, float_format="%.6f")


def _target_dice(model: LoadedModel, names: list[str], params: EvaluateConfig, device: torch.device) -> float:
    model.network.to(device)
    scores = []
    for name in names:
        case = labelled(TARGET_CASES.read(name), model.card.intensity)
        probabilities = predict_probabilities(
            model.network, case.image.to(device), patch_size=model.card.patch_size, overlap=params.overlap
        )
        scores.append(mean_dice(probabilities.argmax(0).cpu(), case.label, probabilities.shape[0]))
    return sum(scores) / len(scores)
