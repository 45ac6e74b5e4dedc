"""Stage `evaluate`: predict and score the test pairs."""

import logging
from typing import Annotated

import typer

logger = logging.getLogger(__name__)


def main(
    model: Annotated[str, typer.Option(help="a trained model; `crossmodalnet-no_cross` for an ablation")],
    seed: Annotated[int, typer.Option(help="one of `seeds` in params.yaml", min=0)] = 0,
) -> None:
    """Segment the test cases on their original grids and write label maps, tables and metrics.

    A model with modality dropout is also evaluated on single modalities, an adapted model on labelled target test
    cases.
    """
    import shutil

    from crossmodalnet.io.outputs import whole_folder, write_json
    from crossmodalnet.networks.common.device import find_device
    from pipeline.cohort.split_file import read_notes
    from pipeline.config.params import load_section
    from pipeline.config.sections import EvaluateConfig
    from pipeline.evaluation.evaluate_cases import evaluate_cases, evaluate_pairs, evaluate_target
    from pipeline.evaluation.kept_cases import KeptCases
    from pipeline.evaluation.prediction import Evaluator
    from pipeline.preparation.cases import PAIRS, TARGET_CASES, source_of
    from pipeline.preparation.domain import read_domain
    from pipeline.runtime.paths import EVALUATION, METRICS, MODELS, SPLIT, of_run
    from pipeline.runtime.workers import RuntimeConfig
    from pipeline.training.checkpoint import load_model

    params = load_section(EvaluateConfig, "evaluate")
    trained = of_run(MODELS, model, seed)
    loaded = load_model(trained)
    device = find_device(params.device, "evaluate.device")
    loaded.network.to(device)
    kept = KeptCases(trained, device, loaded.card.builder)
    # Workers would share one GPU's memory.
    workers = (trained, load_section(RuntimeConfig, "runtime")) if device.type == "cpu" else None
    evaluator = Evaluator(loaded, params, tuple(read_notes(SPLIT).missing), workers, kept)
    domain = read_domain() if loaded.card.adaptation else None
    source, names = source_of(domain)
    with whole_folder(of_run(EVALUATION, model, seed)) as folder:
        scores = evaluate_cases(folder, evaluator, source, names["test"])
        logger.info("%s, seed %d: %s", model, seed, scores.summary)
        metrics = scores.metrics
        if source == PAIRS:
            metrics |= evaluate_pairs(folder, evaluator, names["test"])
        labelled = TARGET_CASES.truths() if domain else {}
        tests = [name for name in domain.target["test"] if name in labelled] if domain else []
        if tests:
            target = evaluate_target(folder / "target", evaluator, trained, tests)
            metrics |= {f"target_{key}": target.metrics[key] for key in ("dice", "hd95_mm")}
            logger.info("%s, seed %d, target domain: %s", model, seed, target.summary)
        elif domain:
            logger.warning("the target domain has no labelled test case: nothing to score there")
        # For the report, which reads no weights.
        shutil.copyfile(trained / "card.json", folder / "card.json")
    write_json(of_run(METRICS, model, seed).with_suffix(".json"), metrics)
    kept.forget()
