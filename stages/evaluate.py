"""Stage `evaluate`: a model's predictions on the test pairs, and how good they are."""

import logging
from typing import Annotated

import typer

logger = logging.getLogger(__name__)


def main(
    model: Annotated[str, typer.Option(help="a trained model; `crossmodalnet-no_cross` for an ablation")],
    seed: Annotated[int, typer.Option(help="one of `seeds` in params.yaml", min=0)] = 0,
) -> None:
    """Segment the test cases on their original grids and write label maps, tables and metrics.

    Of a model trained with modality dropout those from one modality alone too; of an adapted model those of the target
    domain, as far as they have labels.
    """
    import shutil

    from crossmodalnet.io.outputs import whole_folder, write_json
    from crossmodalnet.networks.common.device import find_device
    from pipeline.cohort.split_file import read_notes
    from pipeline.config.params import load_section
    from pipeline.config.sections import EvaluateConfig
    from pipeline.evaluation.evaluate_cases import evaluate_cases, evaluate_pairs, write_choices
    from pipeline.evaluation.kept_cases import KeptCases
    from pipeline.evaluation.prediction import ModelWorkers
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
    # A GPU has one memory for all.
    workers = ModelWorkers(trained, load_section(RuntimeConfig, "runtime")) if device.type == "cpu" else None
    kept = KeptCases(trained, device, loaded.card.builder)
    domain = read_domain() if loaded.card.adaptation else None
    source, names = source_of(domain)
    missing = read_notes(SPLIT).missing
    with whole_folder(of_run(EVALUATION, model, seed)) as folder:
        found = evaluate_cases(
            folder, loaded, source, names["test"], params, missing=missing, workers=workers, kept=kept
        )
        logger.info("%s, seed %d: %s", model, seed, found.summary)
        metrics = found.metrics
        if source == PAIRS:
            metrics |= evaluate_pairs(folder, loaded, names["test"], params, missing, workers, kept)
        known = TARGET_CASES.truths() if domain else {}
        tests = [name for name in domain.target["test"] if name in known] if domain else []
        if tests:
            target = folder / "target"
            adapted = evaluate_cases(
                target, loaded, TARGET_CASES, tests, params, missing=missing, workers=workers, kept=kept
            )
            write_choices(target, trained, tests, params)
            metrics |= {f"target_{key}": adapted.metrics[key] for key in ("dice", "hd95_mm")}
            logger.info("%s, seed %d, target domain: %s", model, seed, adapted.summary)
        elif domain:
            logger.warning("the target domain has no labelled test case: nothing to score there")
        # What was evaluated is said beside its scores, so that the report reads no weights.
        shutil.copyfile(trained / "card.json", folder / "card.json")
    write_json(of_run(METRICS, model, seed).with_suffix(".json"), metrics)
    kept.forget()
