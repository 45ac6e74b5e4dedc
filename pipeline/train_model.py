"""From the cropped pairs to a model folder: what the train stage does, in each of its processes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crossmodalnet.data.augmentation import AugmentationSettings
from crossmodalnet.data.dataset import LabelledCase, TrainingSet
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.labels import NUM_CLASSES
from crossmodalnet.networks.build import DEEPLY_SUPERVISED, build_network
from pipeline.cropped import labelled, read_cropped
from pipeline.curves import write_curves
from pipeline.distributed import Processes
from pipeline.errors import DataError, UsageError
from pipeline.learner import Learner
from pipeline.model_card import ModelCard, label_entries, package_versions, save_model
from pipeline.params.ablations import ABLATIONS
from pipeline.params.augment import AugmentParams
from pipeline.params.base import load_section
from pipeline.params.losses import LossesParams
from pipeline.params.network import NetworkSection
from pipeline.params.networks import NETWORKS
from pipeline.params.train import TrainParams
from pipeline.paths import CROPPED, CURVES, MODELS, SPLIT, of_run
from pipeline.split_file import read_split
from pipeline.training import Course, Trainer
from pipeline.work import code_fingerprint, fingerprint, work_folder


@dataclass(frozen=True)
class ModelParams:
    """The sections that a training depends on.

    Attributes:
        name: of the model; `crossmodalnet-no_cross` for an ablation.
        builder: key of the network's builder.
        network: its section, an ablation's changes included.
        losses: objectives.
        augment: augmentation.
        train: training; `lr` is the network's own where it has one.
    """

    name: str
    builder: str
    network: NetworkSection
    losses: LossesParams
    augment: AugmentParams
    train: TrainParams

    @property
    def options(self) -> dict[str, Any]:
        """What the builder takes."""
        options = self.network.options()
        if self.builder in DEEPLY_SUPERVISED:
            options["deep_supervision"] = self.losses.deep_supervision
        return options

    @property
    def intensity(self) -> Intensity:
        """How images become the network's input."""
        return Intensity(self.train.ct_window_hu, self.train.mr_percentiles)

    @property
    def augmentation(self) -> AugmentationSettings | None:
        """The augmentation, if there is one."""
        if not self.augment.enabled:
            return None
        return AugmentationSettings(**self.augment.model_dump(exclude={"enabled"}))


@dataclass(frozen=True)
class Cohort:
    """Pairs to train on and to validate on, and what they have in common."""

    training: tuple[LabelledCase, ...]
    validation: tuple[LabelledCase, ...]
    spacing_mm: tuple[float, float, float]
    size: tuple[int, int, int]
    fingerprint: str


def read_params(model: str, ablation: str | None = None) -> ModelParams:
    """Read the sections that the training of `model` depends on.

    Args:
        model: a key of `network`.
        ablation: a key of `ABLATIONS`, of crossmodalnet only.

    Raises:
        UsageError: no such model or ablation, or a bad value.
    """
    if model not in NETWORKS:
        raise UsageError(f"no model {model!r}; there are {', '.join(NETWORKS)}")
    network, train = load_section(NETWORKS[model], "network", model), load_section(TrainParams, "train")
    if ablation is not None:
        if model != "crossmodalnet" or ablation not in ABLATIONS:
            raise UsageError(f"no ablation {ablation!r} of {model}; crossmodalnet has {', '.join(ABLATIONS)}")
        network = network.model_copy(update=dict(ABLATIONS[ablation]))
    return ModelParams(
        model if ablation is None else f"{model}-{ablation}",
        model,
        network,
        load_section(LossesParams, "losses"),
        load_section(AugmentParams, "augment"),
        train if network.lr is None else train.model_copy(update={"lr": network.lr}),
    )


def train_model(params: ModelParams, seed: int, processes: Processes) -> None:
    """Train, and write the model folder and its curves; every process calls this, the main one writes.

    Raises:
        PipelineError: as `run_training`.
    """
    cohort = read_cohort(params.intensity)
    trainer, course = run_training(params, cohort, seed, processes)
    if processes.is_main:
        card = make_card(params, seed, cohort, course)
        save_model(of_run(MODELS, params.name, seed), card, course.best, trainer.last_weights())
        write_curves(of_run(CURVES, params.name, seed).with_suffix(".csv"), course.rows)


def run_training(
    params: ModelParams, cohort: Cohort, seed: int, processes: Processes
) -> tuple[Trainer, Course]:
    """Train one network to the end of its budget; every process calls this.

    Args:
        params: of the training.
        cohort: pairs to train on.
        seed: of the first weights, the order of samples and their augmentation.
        processes: which train together.

    Raises:
        UsageError: the batch cannot be divided over the processes, or the network cannot take the patch size.
        DataError: a pair is missing or unfit, or the training diverges.
        InterruptedRunError: stopped by a signal, after writing a checkpoint.
    """
    train = params.train
    if train.batch_size % processes.world_size:
        raise UsageError(
            f"train.batch_size = {train.batch_size} cannot be shared equally "
            f"by {processes.world_size} processes"
        )
    torch.manual_seed(seed)
    try:
        network = build_network(
            params.builder, params.options, patch_size=train.patch_size, num_classes=NUM_CLASSES
        )
    except ValueError as error:
        raise UsageError(
            f"network.{params.builder} with train.patch_size {train.patch_size}: {error}"
        ) from error
    samples = TrainingSet(
        cohort.training,
        settings=params.augmentation,
        patch_size=train.patch_size,
        samples_per_case=train.samples_per_case,
        foreground_share=train.foreground_share,
        seed=seed,
        batch_size=train.batch_size,
    )
    learner = Learner(network, params.losses, train, processes)
    work = find_work(params, cohort, seed)
    trainer = Trainer(learner, samples, cohort.validation, train, seed, processes, work)
    return trainer, trainer.run()


def find_work(params: ModelParams, cohort: Cohort, seed: int) -> Path:
    """Give the folder for this training's checkpoint: its name covers parameters, data, code and packages."""
    code = code_fingerprint("pipeline.train_model")
    parts = [params.options, params.losses, params.augment, params.train.essential(), seed]
    return work_folder(
        "train", f"{params.name}-{fingerprint(parts, cohort.fingerprint, code, package_versions())}"
    )


def read_cohort(intensity: Intensity) -> Cohort:
    """Read the training and validation pairs.

    Raises:
        DataError: a pair is missing or unfit, or the pairs are not on grids of one size and spacing.
    """
    split = read_split(SPLIT)
    names = [*split["train"], *split["validation"]]
    cropped = [read_cropped(CROPPED / name) for name in names]
    first = cropped[0].ct
    for case in cropped:
        shape, spacing = case.ct.data.shape, case.ct.spacing_mm
        if shape != first.data.shape or any(
            abs(a - b) > 1e-3 for a, b in zip(spacing, first.spacing_mm, strict=True)
        ):
            raise DataError(
                f"{CROPPED / case.name}: {shape} voxels of {spacing} mm differ from the first pair's"
            )
    cases = [labelled(case, intensity) for case in cropped]
    x, y, z = (round(spacing, 6) for spacing in first.spacing_mm)
    return Cohort(
        training=tuple(cases[: len(split["train"])]),
        validation=tuple(cases[len(split["train"]) :]),
        spacing_mm=(x, y, z),
        size=first.grid.shape,
        fingerprint=fingerprint(split["train"], split["validation"], [CROPPED / name for name in names]),
    )


def make_card(params: ModelParams, seed: int, cohort: Cohort, course: Course) -> ModelCard:
    """Write down what the model is."""
    return ModelCard(
        name=params.name,
        builder=params.builder,
        seed=seed,
        network=json.loads(json.dumps(params.options)),  # lists for tuples, as a card has them
        patch_size=params.train.patch_size,
        spacing_mm=cohort.spacing_mm,
        size=cohort.size,
        ct_window_hu=params.train.ct_window_hu,
        mr_percentiles=params.train.mr_percentiles,
        labels=label_entries(),
        num_classes=NUM_CLASSES,
        train=params.train.essential(),
        losses=params.losses.model_dump(mode="json"),
        augment=params.augment.model_dump(mode="json"),
        versions=package_versions(),
        data_fingerprint=cohort.fingerprint,
        training_pairs=_names(cohort.training),
        validation_pairs=_names(cohort.validation),
        best_epoch=course.best_epoch,
        validation_dice=course.best_dice,
    )


def _names(cases: Sequence[LabelledCase]) -> tuple[str, ...]:
    return tuple(case.name for case in cases)
