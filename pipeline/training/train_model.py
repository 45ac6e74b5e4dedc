"""Train a network on cropped cases and write its model folder."""

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from crossmodalnet.errors import UsageError
from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.common.card import ModelCard, label_entries, package_versions
from crossmodalnet.training.dataset import TrainingSet, sample_seed
from pipeline.runtime.paths import CURVES, MODELS, of_run
from pipeline.runtime.work import code_fingerprint, fingerprint, work_folder
from pipeline.training.checkpoint import save_model
from pipeline.training.cohort import Cohort, TargetDomain, read_cohort
from pipeline.training.curves import unlearned, write_curves
from pipeline.training.learner import Learner
from pipeline.training.objectives import AdaptationObjective, Objective, make_objective
from pipeline.training.params import ModelParams
from pipeline.training.processes import Processes
from pipeline.training.trainer import Trainer, TrainingState

logger = logging.getLogger(__name__)


def train_model(params: ModelParams, seed: int, processes: Processes) -> None:
    """Train, and write the model folder and curves; every process calls this, the main one writes."""
    cohort = read_cohort(params.intensity, adapts=params.adapt is not None, variant=params.variant)
    curve = of_run(CURVES, params.name, seed).with_suffix(".csv")
    trainer, state = run_training(params, cohort, seed, processes, curve)
    if processes.is_main:
        card = make_card(params, seed, cohort, state)
        folder = of_run(MODELS, params.name, seed)
        save_model(folder, card, state.best, trainer.last_weights(), trainer.candidates())
        if problem := unlearned(pd.DataFrame(state.rows)):
            logger.warning("%s: %s", params.name, problem)
        write_curves(curve, state.rows)  # if no epoch was left to write it


def run_training(
    params: ModelParams, cohort: Cohort, seed: int, processes: Processes, curve: Path | None = None
) -> tuple[Trainer, TrainingState]:
    """Train one network until its budget ends; `seed` covers initial weights, sample order and augmentation.

    Every process calls this. `curve` is rewritten after every epoch.

    Raises:
        UsageError: the processes cannot share the batch equally, or the network cannot take the patch size.
        DataError: a case is missing or invalid, or the training diverges.
        InterruptedRunError: stopped by a signal, after writing a checkpoint.
    """
    train = params.train
    if train.batch_size % processes.world_size:
        raise UsageError(
            f"train.batch_size = {train.batch_size} cannot be shared equally by {processes.world_size} processes"
        )
    torch.manual_seed(seed)
    try:
        network = build_network(params.builder, params.options, patch_size=train.patch_size, num_classes=NUM_CLASSES)
    except ValueError as error:
        raise UsageError(f"network.{params.builder} with train.patch_size {train.patch_size}: {error}") from error
    samples = _samples(params, cohort.training, seed)
    objective: Callable[[nn.Module], Objective] = partial(make_objective, weight=params.losses.cmif)
    if params.adapt is not None and cohort.target:
        objective = partial(AdaptationObjective, params=params.adapt)
    learner = Learner(network, params.losses, train, processes, objective, params.network.offset_rate)
    work = find_work(params, cohort, seed)
    target = _target(params, cohort, seed)
    trainer = Trainer(learner, samples, cohort.validation, train, seed, processes, work, target, curve)
    return trainer, trainer.run()


def find_work(params: ModelParams, cohort: Cohort, seed: int) -> Path:
    """Return the checkpoint folder, keyed by parameters, data, code and packages."""
    code = code_fingerprint("train", params.builder)
    parts = [params.options, params.losses, params.augment, params.training, params.adapt, seed]
    return work_folder("train", f"{params.name}-{fingerprint(parts, cohort.fingerprint, code, package_versions())}")


def _samples(params: ModelParams, cases: Sequence[LabelledCase], seed: int) -> TrainingSet:
    return TrainingSet(
        cases,
        augmentation=params.augmentation,
        patch_size=params.train.patch_size,
        samples_per_case=params.train.samples_per_case,
        seed=seed,
        batch_size=params.train.batch_size,
        modality_dropout=params.modality_dropout,
    )


def _target(params: ModelParams, cohort: Cohort, seed: int) -> TargetDomain | None:
    """Return the target domain; its samples have their own random order."""
    if params.adapt is None or not cohort.target:
        return None
    samples = _samples(params, cohort.target, sample_seed(seed, 2))
    return TargetDomain(samples, cohort.target)


def make_card(params: ModelParams, seed: int, cohort: Cohort, state: TrainingState) -> ModelCard:
    """Describe the model."""
    return ModelCard(
        name=params.name,
        builder=params.builder,
        seed=seed,
        network=json.loads(json.dumps(params.options)),  # lists for tuples, as in a card
        patch_size=params.train.patch_size,
        spacing_mm=cohort.spacing_mm,
        size=cohort.size,
        ct_window_hu=params.train.ct_window_hu,
        mr_percentiles=params.train.mr_percentiles,
        labels=label_entries(cohort.missing),
        num_classes=NUM_CLASSES,
        train=params.training,
        losses=params.losses.model_dump(mode="json"),
        augment=params.augment.model_dump(mode="json"),
        versions=package_versions(),
        adaptation=_adaptation_entry(params),
        cohort=params.cohort,
        data_fingerprint=cohort.fingerprint,
        training_pairs=_names(cohort.training),
        validation_pairs=_names(cohort.validation),
        best_epoch=state.best_epoch,
        validation_dice=state.best_dice,
    )


def _adaptation_entry(params: ModelParams) -> dict[str, Any] | None:
    if params.adapt is None:
        return None
    return {"variant": params.variant, **params.adapt.model_dump(mode="json", exclude={"enabled", "target"})}


def _names(cases: Sequence[LabelledCase]) -> tuple[str, ...]:
    return tuple(case.name for case in cases)
