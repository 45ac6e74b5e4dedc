"""Stage `export`: write a self-contained model folder for new patients."""

import logging
from typing import Annotated

import typer

logger = logging.getLogger(__name__)


def main(
    model: Annotated[str, typer.Option(help="a trained model, one of `models` in params.yaml")],
    seed: Annotated[int, typer.Option(help="one of `seeds` in params.yaml", min=0)] = 0,
) -> None:
    """Export weights, card, preparation and atlases of a model: all that `crossmodalnet predict` needs."""
    from crossmodalnet.registration.config import RegistrationConfig
    from pipeline.config.params import load_section
    from pipeline.config.sections import CropConfig, EvaluateConfig, ExportConfig
    from pipeline.prediction.export_model import export_model
    from pipeline.runtime.paths import EXPORT, MODELS, of_run

    target = of_run(EXPORT, model, seed)
    export_model(
        of_run(MODELS, model, seed),
        target,
        load_section(RegistrationConfig, "register"),
        load_section(CropConfig, "crop"),
        load_section(EvaluateConfig, "evaluate"),
        load_section(ExportConfig, "export"),
    )
    logger.info("%s: crossmodalnet predict --model %s --ct CT --mr MR --out DIR", target, target)
