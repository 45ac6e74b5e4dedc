"""Stage `evaluate`: a model's predictions on the test pairs, and how good they are."""

import logging
from typing import Annotated

import typer

logger = logging.getLogger(__name__)


def main(
    model: Annotated[str, typer.Option(help="a trained model; `crossmodalnet-no_cross` for an ablation")],
    seed: Annotated[int, typer.Option(help="one of `seeds` in params.yaml", min=0)] = 0,
) -> None:
    """Segment the test pairs on their original CT grids and write label maps, tables and metrics."""
    from crossmodalnet.imaging.nifti import write_label_map
    from pipeline.console import track
    from pipeline.cropped import read_cropped
    from pipeline.devices import find_device
    from pipeline.evaluation import prediction_file, score_pair, write_evaluation
    from pipeline.model_card import load_model
    from pipeline.outputs import whole_folder
    from pipeline.params.base import load_section
    from pipeline.params.evaluate import EvaluateParams
    from pipeline.paths import CROPPED, EVALUATION, METRICS, MODELS, REGISTERED, SPLIT, of_run
    from pipeline.prediction import predict_labels
    from pipeline.split_file import read_split

    params = load_section(EvaluateParams, "evaluate")
    pairs = read_split(SPLIT)["test"]
    loaded = load_model(of_run(MODELS, model, seed))
    loaded.network.to(find_device(params.device, "evaluate.device"))
    with whole_folder(of_run(EVALUATION, model, seed)) as folder:
        cases = []
        for pair in track(pairs, "evaluate", len(pairs)):
            file = prediction_file(folder, pair)
            write_label_map(file, predict_labels(loaded, read_cropped(CROPPED / pair), params))
            truth = REGISTERED / pair / "ct_label.nii.gz"
            cases.append(score_pair(pair, file, truth, params.nsd_tolerance_mm))
        result = write_evaluation(folder, of_run(METRICS, model, seed).with_suffix(".json"), cases, params)
    logger.info("%s, seed %d: %s", model, seed, result)
