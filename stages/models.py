"""`crossmodalnet models`: what a model folder holds."""

from pathlib import Path
from typing import Annotated

import typer


def main(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="exported model folders; default: all in exported/")
    ] = None,
) -> None:
    """Show modalities, structures, training data and validation Dice of exported models."""
    from pipeline.common.console import plain_table
    from pipeline.common.errors import DataError
    from pipeline.common.paths import EXPORT
    from pipeline.prediction.patient import load_predictor

    found = folders or sorted(path.parent for path in EXPORT.glob("*/seed*/card.json"))
    if not found:
        raise DataError(f"no model in {EXPORT}/: run `dvc repro export`, or name a folder")
    rows = []
    for folder in found:
        predictor = load_predictor([folder], "cpu")
        card = predictor.card
        rows.append([
            str(folder), card.name, " or ".join(predictor.modalities),
            " ".join(entry.abbreviation for entry in card.labels),
            f"{len(card.training_pairs)} + {len(card.validation_pairs)}", f"{card.validation_dice:.3f}",
            "yes" if predictor.has_atlases else "no, needs --box",
        ])  # fmt: skip
    header = (
        "folder",
        "network",
        "segments",
        "structures",
        "pairs trained + validated",
        "validation Dice",
        "finds the heart",
    )
    typer.echo(plain_table(header, rows))
