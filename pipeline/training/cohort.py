"""The cases that a training sees: labelled ones, and those of the target domain without labels."""

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.imaging.samples import Batch, LabelledCase
from crossmodalnet.training.dataset import TrainingSet
from pipeline.cohort.pairs import Role
from pipeline.cohort.split_file import read_notes, read_split
from pipeline.config.variants import SOURCE_ONLY, SUPERVISED
from pipeline.preparation.cases import PAIRS, TARGET_CASES, CaseSet, CroppedCase, Names, source_of
from pipeline.preparation.domain import Domain, read_domain, read_labelled_names
from pipeline.preparation.tensors import blind, labelled
from pipeline.runtime.paths import SPLIT
from pipeline.runtime.work import fingerprint
from pipeline.training.objectives import TargetBatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cohort:
    """Cases to train on and to validate on, their working grid, and the fingerprint of their files.

    Cases of the domain to adapt to have labels of background alone, which nothing uses.
    """

    training: tuple[LabelledCase, ...]
    validation: tuple[LabelledCase, ...]
    target: tuple[LabelledCase, ...]
    spacing_mm: tuple[float, float, float]
    size: tuple[int, int, int]
    fingerprint: str


def read_cohort(intensity: Intensity, *, adapts: bool = False, variant: str | None = None) -> Cohort:
    """Read the cases of a training.

    Args:
        intensity: windows by which images become the network's input.
        adapts: whether `adapt.enabled` is set.
        variant: a key of `ADAPTATIONS`, or None for the adaptation itself.

    Raises:
        DataError: a case is missing or unfit, or cases are not on grids of one size and spacing.
        UsageError: a variant needs labels that the target domain does not have, or an adaptation those of structures
            that the cohort does not delineate.
    """
    if missing := ", ".join(read_notes(SPLIT).missing):
        if adapts:
            raise UsageError(
                f"adapt.enabled is true, but the cohort does not delineate {missing}: the adaptation aligns every "
                "structure; set adapt.enabled to false, or take a cohort with all of them"
            )
        logger.warning("%s: not delineated in this cohort, learnt as background and not scored", missing)
    if not adapts:
        return _read(intensity, PAIRS, read_split(SPLIT), ())
    domain = read_domain()
    if domain is None:
        raise DataError(
            "adapt.enabled is true, but the target domain was made without it: run `dvc repro target`"
        )
    if variant == SUPERVISED:
        return _read(intensity, TARGET_CASES, _all_labelled(domain), ())
    targets = () if variant == SOURCE_ONLY else domain.target["train"]
    return _read(intensity, *source_of(domain), targets)


def _all_labelled(domain: Domain) -> Names:
    """Give the target's names where all that a supervised training needs have labels."""
    known = read_labelled_names()
    roles: tuple[Role, ...] = ("train", "validation")
    missing = [name for role in roles for name in domain.target[role] if name not in known]
    if missing or not all(domain.target[role] for role in roles):
        raise UsageError(
            f"adaptation {SUPERVISED} trains on labels of the target domain's train and validation cases, "
            "which it does not have: take it out of `adaptations`"
        )
    return domain.target


def _read(intensity: Intensity, cases: CaseSet, names: Names, targets: Sequence[str]) -> Cohort:
    training = [cases.read(name) for name in names["train"]]
    validation = [cases.read(name) for name in names["validation"]]
    unlabelled = [TARGET_CASES.read_unlabelled(name) for name in targets]
    first = training[0]
    for case in [*training, *validation, *unlabelled]:
        _check_grid(case, first)
    x, y, z = (round(spacing, 6) for spacing in first.grid.spacing_mm)
    files = [cases.folder / name for role in ("train", "validation") for name in names[role]]
    labels = [cases.labels / file.name for file in files] if cases.labels else []
    unseen = [TARGET_CASES.folder / name for name in targets]
    return Cohort(
        training=tuple(labelled(case, intensity) for case in training),
        validation=tuple(labelled(case, intensity) for case in validation),
        target=tuple(blind(case, intensity) for case in unlabelled),
        spacing_mm=(x, y, z),
        size=first.grid.shape,
        fingerprint=fingerprint(names["train"], names["validation"], files, labels, targets, unseen),
    )


def _check_grid(case: CroppedCase, first: CroppedCase) -> None:
    shape, spacing = case.grid.shape, case.grid.spacing_mm
    if shape != first.grid.shape or any(
        abs(a - b) > 1e-3 for a, b in zip(spacing, first.grid.spacing_mm, strict=True)
    ):
        raise DataError(f"{case.name}: {shape} voxels of {spacing} mm differ from those of {first.name}")


@dataclass(frozen=True)
class TargetDomain:
    """The domain that a training adapts to: samples for batches, and cases whose entropy chooses weights; no label."""

    samples: TrainingSet
    cases: Sequence[LabelledCase]


class TargetStream:
    """A process's share of the target's batches, made ahead from the first that is needed; to be closed."""

    def __init__(self, samples: TrainingSet, *, rank: int, world_size: int, threads: int) -> None:
        self._start = partial(samples.stream, rank=rank, world_size=world_size, threads=threads)
        self._batches: Generator[Batch, None, None] | None = None

    def batch(self, number: int) -> TargetBatch:
        """Give the batch of a number, which is one more than in the call before."""
        if self._batches is None:
            self._batches = self._start(number)
        return TargetBatch(next(self._batches).image, number)

    def close(self) -> None:
        """Make no more batches."""
        if self._batches is not None:
            self._batches.close()
