"""Label maps that a trained model gives of cases, and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crossmodalnet.imaging.nifti import write_label_map
from crossmodalnet.networks.common.card import LoadedModel
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.kept_cases import KeptCases, find_or_compute
from pipeline.evaluation.model_workers import ModelWorkers, compute
from pipeline.evaluation.prediction import cleaned, predict_labels
from pipeline.evaluation.score_cases import Evaluation, count_stray, prediction_file, score_pair, write_tables
from pipeline.evaluation.views import View
from pipeline.preparation.sets import CaseSet
from pipeline.runtime.console import track
from pipeline.runtime.cost import CaseCost
from pipeline.runtime.errors import DataError
from pipeline.runtime.paths import REGISTERED
from pipeline.runtime.run_cases import Work

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
