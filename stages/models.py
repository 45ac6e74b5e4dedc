"""`crossmodalnet models`: what a model holds, and a model folder as one file."""

import logging
from pathlib import Path
from typing import Annotated

import typer

logger = logging.getLogger(__name__)

app = typer.Typer(help="What exported models hold, and a model as one file.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """Show what the models in exported/ hold, where no command is given."""
    if context.invoked_subcommand is None:
        show(None)


@app.command()
def show(
    models: Annotated[
        list[Path] | None,
        typer.Argument(help="model folders or packed models; default: all in exported/", show_default=False),
    ] = None,
) -> None:
    """Show modalities, structures, training data and validation Dice of exported models."""
    from pipeline.prediction.patient import load_predictor
    from pipeline.runtime.console import plain_table
    from pipeline.runtime.errors import DataError
    from pipeline.runtime.paths import EXPORT

    found = models or sorted(path.parent for path in EXPORT.glob("*/seed*/card.json"))
    if not found:
        raise DataError(
            f"no model in {EXPORT}/: run `dvc repro export`, or name a folder: `crossmodalnet models show FOLDER`"
        )
    rows = []
    for path in found:
        predictor = load_predictor([path], "cpu")
        card = predictor.card
        rows.append([
            str(path), card.name, " or ".join(predictor.modalities),
            " ".join(entry.abbreviation for entry in card.labels),
            f"{len(card.training_pairs)} + {len(card.validation_pairs)}", f"{card.validation_dice:.3f}",
            "yes" if predictor.has_atlases else "no, needs --box",
        ])  # fmt: skip
    header = (
        "model",
        "network",
        "segments",
        "structures",
        "pairs trained + validated",
        "validation Dice",
        "finds the heart",
    )
    typer.echo(plain_table(header, rows))


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(help="exported model folder", show_default=False)],
    file: Annotated[
        Path, typer.Argument(help="file to write, an uncompressed zip archive", show_default=False)
    ],
) -> None:
    """Pack a model folder to one file, which `crossmodalnet predict --model FILE` takes.

    What is damaged, or no model of this version, is not packed.
    """
    from pipeline.prediction.pack import pack_checked

    size = pack_checked(folder, file)
    logger.info(
        "%s: %.1f MB; crossmodalnet predict --model %s --ct CT --mr MR --out DIR", file, size / 1e6, file
    )
