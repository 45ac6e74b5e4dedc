"""Scores of predicted label maps against the true ones, on the original grids."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from crossmodalnet.imaging.nifti import read_label_map, write_label_map
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.labels import STRUCTURES
from crossmodalnet.metrics.topology import stray_components
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.scoring.scores import UNDEFINED, score_label_map
from pipeline.case_sets.sets import CaseSet
from pipeline.common.errors import DataError
from pipeline.common.paths import REGISTERED
from pipeline.evaluation.model_workers import ModelWorkers, compute
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.prediction import cleaned, predict_labels
from pipeline.evaluation.tables import (
    CASE_COLUMNS,
    DECIMALS,
    MEAN,
    bar_table,
    headline,
    interval_table,
)
from pipeline.evaluation.views import View
from pipeline.runtime.console import track
from pipeline.workers.cost import CaseCost
from pipeline.workers.run_cases import Work

# Measured on the phantom and on a case of real size (docs/clusters.md).
COST = CaseCost(base_mb=1100, bytes_per_voxel=60)
# About one CT of real size.
FEW_VOXELS = 2**26


def prediction_file(folder: Path, pair: str) -> Path:
    """Where an evaluation folder keeps the label map of a pair."""
    return folder / "predictions" / f"{pair}.nii.gz"


def count_stray(labels: Volume) -> list[int]:
    """Count per structure the pieces beyond the first, before they are removed: how much there was to clean up."""
    return [stray_components(labels.data == structure.index) for structure in STRUCTURES]


def score_pair(
    pair: str,
    prediction: Path,
    truth: Path,
    nsd_tolerance_mm: float,
    stray: Sequence[int] | None = None,
    missing: Sequence[str] = (),
) -> pd.DataFrame:
    """Score one label map.

    Args:
        pair: name of the pair.
        prediction: label map with MM-WHS codes, on the CT grid.
        truth: label map of the CT, or of what else the network was shown.
        nsd_tolerance_mm: surfaces closer than this agree.
        stray: pieces beyond the first, of each structure; counted in the label map where None.
        missing: abbreviations of structures that the truth does not delineate, whatever the prediction holds.

    Returns:
        `CASE_COLUMNS`, a row per structure; NaN where a structure is absent from both, or missing.

    Raises:
        DataError: a file is missing or unreadable, or the grids differ.
    """
    found, expected = _read(prediction, pair), _read(truth, pair)
    if not found.grid.same_as(expected.grid):
        raise DataError(
            f"{pair}: {prediction} {found.data.shape} is not on the grid of {truth} {expected.data.shape}"
        )
    scores = score_label_map(found.data, expected.data, expected.spacing_mm, nsd_tolerance_mm)
    scores |= dict.fromkeys(missing, UNDEFINED)
    counts = count_stray(found) if stray is None else stray
    rows = [
        {"pair": pair, "structure": name, **asdict(score), "stray": count}
        for (name, score), count in zip(scores.items(), counts, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS)).astype({"missed": int, "undefined": int})


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model or of the atlas.

    Attributes:
        cases: `CASE_COLUMNS`, a row per case and structure.
        intervals: intervals that `interval_table` makes of the cases.
    """

    cases: pd.DataFrame
    intervals: pd.DataFrame

    @property
    def metrics(self) -> dict[str, float]:
        """What `dvc metrics show` prints."""
        return headline(self.cases, self.intervals)

    @property
    def summary(self) -> str:
        """The result in one line."""
        return _summarise(self.cases, self.intervals)


def evaluate_cases(
    folder: Path,
    model: LoadedModel,
    cases: CaseSet,
    names: Sequence[str],
    params: EvaluateParams,
    view: View = View.PAIR,
    missing: Sequence[str] = (),
    workers: ModelWorkers | None = None,
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

    Raises:
        DataError: a case or its label map is missing or damaged.
        ResourceError: cases that ended every process that computed them, named after all others are done.
    """
    truths = _truths(cases, view)
    if unknown := [name for name in names if name not in truths]:
        raise DataError(f"{unknown[0]}: no label map of it is found: every test case needs one to be scored")
    tasks = [
        EvaluateTask(name, truths[name], prediction_file(folder, name), cases, params, view, tuple(missing))
        for name in names
    ]
    images = [task.truth for task in tasks]
    results = compute(evaluate_case, tasks, Work("evaluate", COST, images), model, workers, FEW_VOXELS)
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
    """

    name: str
    truth: Path
    prediction: Path
    cases: CaseSet
    params: EvaluateParams
    view: View
    missing: tuple[str, ...]


def evaluate_case(task: EvaluateTask, model: LoadedModel) -> pd.DataFrame:
    """Segment a case, write its label map and give its scores, as `score_pair` does."""
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


def write_tables(folder: Path, cases: Iterable[pd.DataFrame], params: EvaluateParams) -> Evaluation:
    """Write cases.csv, intervals.csv and bars.csv.

    Args:
        folder: folder of the evaluation.
        cases: tables of `score_pair`.
        params: bootstrap samples and seed.
    """
    table = pd.concat(list(cases)).sort_values("pair", kind="stable")
    intervals = interval_table(table, num_samples=params.bootstrap_samples, seed=params.seed)
    for name, content in (("cases", table), ("intervals", intervals), ("bars", bar_table(intervals))):
        content.to_csv(folder / f"{name}.csv", index=False, float_format=f"%.{DECIMALS}f")
    return Evaluation(table, intervals)


def _truths(cases: CaseSet, view: View) -> Mapping[str, Path]:
    # The label of the CT is not that of the heart in the MR, which is another person's, or lies otherwise.
    if view is View.MR_ALONE:
        return {path.parent.name: path for path in sorted(REGISTERED.glob("*/mr_label.nii.gz"))}
    return cases.truths()


def _read(path: Path, pair: str) -> Volume:
    if not path.is_file():
        raise DataError(f"{pair}: {path} not found: every test pair needs a label map to be scored")
    try:
        return read_label_map(path)
    except ValueError as error:
        raise DataError(f"{pair}: {error}") from error


def _summarise(cases: pd.DataFrame, intervals: pd.DataFrame) -> str:
    means = intervals[intervals["structure"] == MEAN].set_index("metric")
    if means.empty:
        return f"no structure in any of {cases['pair'].nunique()} cases"
    dice, low, high = (float(means[column]["dice"]) for column in ("mean", "low", "high"))
    return (
        f"mean Dice {dice:.3f} [{low:.3f}, {high:.3f}], MIoU {float(means['mean']['iou']):.3f}, "
        f"HD95 {float(means['mean']['hd95_mm']):.1f} mm over {cases['pair'].nunique()} cases"
    )
