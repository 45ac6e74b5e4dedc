"""How good a model is in the domain that it was adapted to: the only place that looks at target labels afterwards."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch

from crossmodalnet.metrics.mean_dice import mean_dice
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.networks.common.sliding_window import predict_probabilities
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.tables import CHOICE_COLUMNS, CHOICES_FILE
from pipeline.preparation.labelled import labelled
from pipeline.preparation.sets import TARGET_CASES
from pipeline.training.candidates import find_candidates
from pipeline.training.devices import find_device
from pipeline.training.model_folder import load_model


@dataclass(frozen=True)
class CandidateScore:
    """Weights that could have been kept.

    Attributes:
        epoch: after which they were validated, from 1.
        chosen: whether they are those kept, without a look at target labels.
        target_dice: mean over the labelled target test cases of their mean Dice, on the working grid.
    """

    epoch: int
    chosen: bool
    target_dice: float


def write_choices(folder: Path, model: Path, names: list[str], params: EvaluateConfig) -> None:
    """Score all weights that were validated in training, and write `choices.csv`: what an oracle would have kept.

    Args:
        folder: folder to write into.
        model: model folder, with the candidates of an adaptation or without any.
        names: names of labelled target cases.
        params: overlap and device.
    """
    device = find_device(params.device, "evaluate.device")
    choices = []
    for epoch, file in find_candidates(model).items():
        candidate = load_model(model, file.name)
        dice = _target_dice(candidate, names, params, device)
        choices.append(CandidateScore(epoch, epoch == candidate.card.best_epoch, dice))
    table = pd.DataFrame([asdict(choice) for choice in choices], columns=list(CHOICE_COLUMNS))
    table.to_csv(folder / CHOICES_FILE, index=False, float_format="%.6f")


def _target_dice(model: LoadedModel, names: list[str], params: EvaluateConfig, device: torch.device) -> float:
    model.network.to(device)
    scores = []
    for name in names:
        case = labelled(TARGET_CASES.read(name), model.card.intensity)
        probabilities = predict_probabilities(
            model.network, case.image.to(device), patch_size=model.card.patch_size, overlap=params.overlap
        )
        scores.append(mean_dice(probabilities.argmax(0).cpu(), case.label, probabilities.shape[0]))
    return sum(scores) / len(scores)
