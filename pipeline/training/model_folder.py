"""A trained model among the pipeline's artefacts: written whole, and read with the stage that makes it at hand."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from crossmodalnet.networks.common import card as cards
from crossmodalnet.networks.common.card import BEST, CARD, LAST, LoadedModel, ModelCard
from pipeline.config.variants import is_adaptation
from pipeline.runtime.errors import DataError
from pipeline.runtime.outputs import whole_folder
from pipeline.training.checkpoint import save_tensors


def save_model(
    folder: Path,
    card: ModelCard,
    best: Mapping[str, Tensor],
    last: Mapping[str, Tensor],
    others: Iterable[Path] = (),
) -> None:
    """Write a model folder, whole or not at all.

    Args:
        folder: replaced if it exists.
        card: card of the best weights.
        best: weights with the best validation Dice.
        last: weights at the end of the training.
        others: files of further weights; their names stay.
    """
    with whole_folder(folder) as new:
        for file in others:
            shutil.copyfile(file, new / file.name)
        save_tensors(new / BEST, best, {"format": "pt"})
        save_tensors(new / LAST, last, {"format": "pt"})
        (new / CARD).write_text(card.model_dump_json(indent=2) + "\n", "utf-8")


def load_model(folder: Path, weights: str = BEST) -> LoadedModel:
    """Rebuild a trained network from its folder alone.

    Args:
        folder: folder that `save_model` wrote.
        weights: `BEST` or `LAST`.

    Raises:
        DataError: a file is missing or damaged, or the weights are not those of the network on the card.
    """
    try:
        return cards.load_model(folder, weights)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} not found: {_remedy(folder)}") from error
    except ValueError as error:
        raise DataError(f"{error}: {_remedy(folder)}") from error


def _remedy(folder: Path) -> str:
    model, _, variant = folder.parent.name.partition("-")
    kind = "adapt" if is_adaptation(folder.parent.name) else "ablate" if variant else "train"
    return f"run `dvc repro {kind}@{variant or model}-{folder.name.removeprefix('seed')}`, or `dvc pull`"
