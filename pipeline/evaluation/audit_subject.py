"""Read the subject of an audit: a trained model, its cases and its training curves."""

import pandas as pd
import torch

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.samples import LabelledCase, centre_crop, pad_to
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from crossmodalnet.theory.subject import AuditSubject
from pipeline.preparation.cases import source_of
from pipeline.preparation.domain import read_domain
from pipeline.preparation.tensors import labelled
from pipeline.runtime.paths import CURVES, MODELS, SPLIT, of_run
from pipeline.training.checkpoint import load_model

# Test pairs that are measured, at most: each costs as much as many training steps.
MAX_CASES = 5


def read_subject(model: str, seed: int, device: torch.device) -> AuditSubject:
    """Read a trained model with its training and test cases, cut to the middle that one patch holds.

    Raises:
        DataError: the model, a pair or the curves are missing or damaged.
    """
    loaded = load_model(of_run(MODELS, model, seed))
    card = loaded.card
    with torch.random.fork_rng():
        torch.manual_seed(card.seed)  # as in training, so that these are its initial weights
        initial = card.build()
    # A model of single images (an adaptation between modalities) is audited on those.
    cases, roles = source_of(read_domain() if card.adaptation else None)
    names = roles["test"][:MAX_CASES]
    if not names:
        raise DataError(f"{SPLIT} lists no test pair: raise split.test_fraction")
    training, test = (
        [_cut(labelled(cases.read(name), card.intensity), card.patch_size) for name in chosen]
        for chosen in (card.training_pairs, names)
    )
    config = BuildConfig.model_validate(card.options()) if card.builder == "crossmodalnet" else None
    return AuditSubject(
        network=loaded.network.to(device),
        initial=initial.to(device).eval(),
        config=config,
        patch_size=card.patch_size,
        training=training,
        test=test,
        objectives=tuple(card.losses["objectives"]),
        balancing=card.losses["balancing"],
        alpha=card.losses["alpha"],
        curves=_curves(model, seed),
    )


def _cut(case: LabelledCase, size: Triple) -> LabelledCase:
    label = pad_to(case.label[None].float(), size)[0].to(case.label.dtype)
    return LabelledCase(case.name, centre_crop(pad_to(case.image, size), size), centre_crop(label, size))


def _curves(model: str, seed: int) -> dict[str, list[float]]:
    path = of_run(CURVES, model, seed).with_suffix(".csv")
    try:
        table = pd.read_csv(path)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(
            f"{path} is not a table of training curves ({error}): run `dvc repro train`"
        ) from error
    return {str(name): table[name].tolist() for name in table if str(name).startswith(("loss_", "weight_"))}
