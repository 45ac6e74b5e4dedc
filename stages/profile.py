"""Stage `profile`: measure size, time and memory of a network."""

import logging
from typing import Annotated

import typer

logger = logging.getLogger(__name__)


def main(
    model: Annotated[str, typer.Option(help="a key of `network` in params.yaml")] = "crossmodalnet",
    ablation: Annotated[str | None, typer.Option(help="a variant of the model")] = None,
) -> None:
    """Count parameters and operations; time a training step and a case beside a reference network."""
    from dataclasses import asdict

    from crossmodalnet.io.outputs import write_json
    from pipeline.config.params import load_section
    from pipeline.config.sections import ProfileConfig
    from pipeline.evaluation.workload import profile_network, read_workload
    from pipeline.runtime.paths import PROFILE

    params = load_section(ProfileConfig, "profile")
    name, work = read_workload(model, ablation, params)
    if not params.repetitions:
        write_json(PROFILE / f"{name}.json", {})
        logger.info("%s: profile.repetitions is 0: not measured", name)
        return
    profile = profile_network(work, params)
    write_json(PROFILE / f"{name}.json", asdict(profile))
    logger.info(
        "%s: %.2f M parameters, %.2f GFLOPs, step %.3f s (%.1f x the reference), %.0f MB",
        name,
        profile.parameters / 1e6,
        profile.flops / 1e9,
        profile.step_seconds.median,
        profile.step_ratio.median,
        profile.step_memory_mb,
    )
