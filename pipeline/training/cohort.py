"""Read the cases of a training: labelled source cases and unlabelled target cases."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.training.dataset import TrainingSet
from pipeline.cohort.pairs import Role
from pipeline.cohort.split_file import read_notes, read_split
from pipeline.config.variants import SOURCE_ONLY, SUPERVISED
from pipeline.preparation.cases import PAIRS, TARGET_CASES, CaseSet, CroppedCase, Names, source_of
from pipeline.preparation.domain import Domain, read_domain, read_labelled_names
from pipeline.preparation.tensors import blind, labelled
from pipeline.runtime.paths import SPLIT
from pipeline.runtime.work import fingerprint

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cohort:
    """Training and validation cases; target-domain labels are all background and never used."""

    training: tuple[LabelledCase, ...]
    validation: tuple[LabelledCase, ...]
    target: tuple[LabelledCase, ...]
    spacing_mm: tuple[float, float, float]
    size: tuple[int, int, int]
    fingerprint: str
    missing: tuple[str, ...] = ()  # structures that it does not delineate


def read_cohort(intensity: Intensity, *, adapts: bool = False, variant: str | None = None) -> Cohort:
    """Read the cases of a training.

    Args:
        adapts: `adapt.enabled` is set.
        variant: a key of `ADAPTATIONS`; None: the full adaptation.

    Raises:
        DataError: a case is missing or invalid, or working grids differ in size or spacing.
        UsageError: the variant needs target labels that do not exist, or the adaptation needs undelineated structures.
    """
    if missing := read_notes(SPLIT).missing:
        listed = ", ".join(missing)
        if adapts:
            raise UsageError(
                f"adapt.enabled is true, but the cohort does not delineate {listed}: the adaptation aligns every "
                "structure; set adapt.enabled to false, or take a cohort with all of them"
            )
        logger.warning("%s: not delineated in this cohort, learnt as background and not scored", listed)
    if not adapts:
        return replace(_read(intensity, PAIRS, read_split(SPLIT), ()), missing=missing)
    domain = read_domain()
    if domain is None:
        raise DataError("adapt.enabled is true, but the target domain was made without it: run `dvc repro target`")
    if variant == SUPERVISED:
        return _read(intensity, TARGET_CASES, _all_labelled(domain), ())
    targets = () if variant == SOURCE_ONLY else domain.target["train"]
    return _read(intensity, *source_of(domain), targets)


def _all_labelled(domain: Domain) -> Names:
    """Return the target's names if every case that a supervised training needs has a label."""
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
    if shape != first.grid.shape or any(abs(a - b) > 1e-3 for a, b in zip(spacing, first.grid.spacing_mm, strict=True)):
        raise DataError(f"{case.name}: {shape} voxels of {spacing} mm differ from those of {first.name}")


@dataclass(frozen=True)
class TargetDomain:
    """Target domain without labels: samples for batches, and cases whose entropy selects weights."""

    samples: TrainingSet
    cases: Sequence[LabelledCase]
