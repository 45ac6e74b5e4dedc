"""Label maps that a trained model gives of cases, and their scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossmodalnet.imaging.nifti import write_label_map
from crossmodalnet.networks.common.card import LoadedModel
from pipeline.case_sets.sets import CaseSet
from pipeline.common.console import track
from pipeline.common.errors import DataError
from pipeline.common.paths import REGISTERED
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.prediction import cleaned, predict_labels
from pipeline.evaluation.score_cases import Evaluation, count_stray, prediction_file, score_pair, write_tables
from pipeline.evaluation.views import View


def evaluate_cases(
    folder: Path,
    model: LoadedModel,
    cases: CaseSet,
    names: Sequence[str],
    params: EvaluateParams,
    view: View = View.PAIR,
    missing: Sequence[str] = (),
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

    Raises:
        DataError: a case or its label map is missing or damaged.
    """
    truths, tables = _truths(cases, view), []
    for name in track(names, "evaluate", len(names)):
        file = prediction_file(folder, name)
        if name not in truths:
            raise DataError(f"{name}: no label map of it is found: every test case needs one to be scored")
        labels = predict_labels(model, cases.read_unlabelled(name), params, view)
        write_label_map(file, cleaned(labels, params))
        stray = count_stray(labels)
        tables.append(score_pair(name, file, truths[name], params.nsd_tolerance_mm, stray, missing))
    return write_tables(folder, tables, params)


def _truths(cases: CaseSet, view: View) -> Mapping[str, Path]:
    # The label of the CT is not that of the heart in the MR, which is another person's, or lies otherwise.
    if view is View.MR_ALONE:
        return {path.parent.name: path for path in sorted(REGISTERED.glob("*/mr_label.nii.gz"))}
    return cases.truths()
