"""Reading what an audit looks at: a trained model, its cases and its curves."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.samples import LabelledCase, centre_crop, pad_to
from crossmodalnet.networks.common.card import ModelCard
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject
from pipeline.config.audit import AuditConfig
from pipeline.config.option import settings_from
from pipeline.preparation.cases import CaseSet, source_of
from pipeline.preparation.domain import read_domain
from pipeline.preparation.tensors import labelled
from pipeline.runtime.paths import CURVES, MODELS, SPLIT, of_run
from pipeline.training.checkpoint import load_model


def read_subject(model: str, seed: int, params: AuditConfig, device: torch.device) -> AuditSubject:
    """Read a trained model with its training and test cases.

    Args:
        model: name of the model.
        seed: seed of the model's training.
        params: parameters of the audit.
        device: device of the model's networks.

    Raises:
        DataError: the model, a pair or the curves are missing or damaged.
    """
    loaded = load_model(of_run(MODELS, model, seed))
    card = loaded.card
    with torch.random.fork_rng():
        torch.manual_seed(card.seed)  # as in training, so that these are the weights it began with
        initial = card.build()
    # A model of single images (an adaptation between modalities) is audited on those.
    cases, roles = source_of(read_domain() if card.adaptation else None)
    names = roles["test"][: params.num_cases]
    if not names:
        raise DataError(f"{SPLIT} lists no test pair: raise split.test_fraction")
    config = BuildConfig.model_validate(card.options()) if card.builder == "crossmodalnet" else None
    return AuditSubject(
        network=loaded.network.to(device),
        initial=initial.to(device).eval(),
        config=config,
        patch_size=card.patch_size,
        training=_cases(cases, card.training_pairs, card),
        test=_cases(cases, names, card),
        objectives=tuple(card.losses["objectives"]),
        balancing=card.losses["balancing"],
        alpha=card.losses["alpha"],
        curves=_curves(model, seed),
    )


def settings_of(params: AuditConfig) -> AuditSettings:
    """Take from the parameters what concerns the checks themselves."""
    return settings_from(params, AuditSettings)


def _cases(cases: CaseSet, names: Sequence[str], card: ModelCard) -> list[LabelledCase]:
    """Read cases and cut the middle out of them that one patch holds; smaller ones are padded."""
    return [_cut(labelled(cases.read(name), card.intensity), card.patch_size) for name in names]


def _cut(case: LabelledCase, size: Triple) -> LabelledCase:
    label = pad_to(case.label[None].float(), size)[0].to(case.label.dtype)
    return LabelledCase(case.name, centre_crop(pad_to(case.image, size), size), centre_crop(label, size))


def _curves(model: str, seed: int) -> Mapping[str, Sequence[float]]:
    path = of_run(CURVES, model, seed).with_suffix(".csv")
    try:
        table = pd.read_csv(path)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is no table of a training ({error}): run `dvc repro train`") from error
    return {str(name): table[name].tolist() for name in table if str(name).startswith(("loss_", "weight_"))}
