"""Prepare the target domain of an adaptation, with its labels in a separate folder.

Scenario `cohort` uses pairs of a second cohort. `ct_to_mr` and `mr_to_ct` use labelled images of one modality and
unlabelled ones of the other, from different people, as in SIFA (Chen 2020, IEEE TMI 39:2494, section IV-A).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_label_map, write_label_map
from crossmodalnet.imaging.resample import sample_labels
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.registration.config import RegistrationConfig
from pipeline.cohort.cohort import gather_cohort
from pipeline.cohort.integrity import MIN_LABELLED
from pipeline.cohort.pairs import (
    Pair,
    Role,
    Subject,
    make_pairs,
    make_unlabelled_pairs,
    one_per_ct,
    read_manifest,
    select,
    subjects_by_role,
)
from pipeline.config.sections import CropConfig, SplitConfig, TargetConfig
from pipeline.preparation.cases import read_cropped
from pipeline.preparation.cropping import CropTask, crop_cases, registered_atlas
from pipeline.preparation.domain import (
    NATIVE,
    ROLES,
    SOURCE_CASES,
    TARGET_CASES,
    WORKING,
    Domain,
    Roles,
    Scenario,
    write_labelled_names,
)
from pipeline.preparation.registration import register_pairs
from pipeline.runtime.paths import MANIFEST, REGISTERED
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig

logger = logging.getLogger(__name__)

# Source and target modality.
MODALITIES: dict[Scenario, tuple[Modality, Modality]] = {
    "ct_to_mr": (Modality.CT, Modality.MR),
    "mr_to_ct": (Modality.MR, Modality.CT),
}
# Native label map by target case; only `write_target_labels` reads them.
Labels = dict[str, Path]


@dataclass(frozen=True)
class Sections:
    """Sections of params.yaml that prepare a domain."""

    register: RegistrationConfig
    split: SplitConfig
    crop: CropConfig
    runtime: RuntimeConfig = ALL_CORES


def prepare_cohort(target: TargetConfig, sections: Sections, folder: Path, scratch: Path) -> tuple[Domain, Labels]:
    """Gather, pair, register and crop the target cohort into the folder `target` of `folder`.

    Args:
        scratch: folder for the raw cohort, needed until the labels are read.

    Raises:
        DataError: the cohort is invalid, has no pair, or a pair cannot be registered or cropped.
    """
    source = read_manifest(MANIFEST)
    if target.source == "unlabelled":
        # A labelled patient's other scans must keep the role from the source domain.
        labelled = {subject.person for subject in source if subject.label is not None}
        others = [s for s in source if s.label is None and s.person not in labelled]
        pairs = _pair_all(others, sections.split)
    else:
        subjects = gather_cohort(
            scratch, target.as_data(), sections.runtime, needs_labels=False, section="adapt.target"
        )
        pairs = pair_target(subjects, sections.split)
    _register_and_crop(pairs, make_pairs(source, sections.split), sections, folder / TARGET_CASES)
    roles = {role: [pair.name for pair in select(pairs, role)] for role in ROLES}
    return Domain("cohort", None, roles), {pair.name: pair.ct.label for pair in pairs if pair.ct.label}


def pair_target(subjects: list[Subject], split: SplitConfig) -> list[Pair]:
    """Pair labelled subjects as in the source domain; if too few, pair all subjects for training."""
    counts = [sum(s.modality is modality and s.label is not None for s in subjects) for modality in Modality]
    if min(counts) >= MIN_LABELLED:
        return make_pairs(subjects, split)
    return _pair_all(subjects, split)


def _pair_all(subjects: list[Subject], split: SplitConfig) -> list[Pair]:
    try:
        return make_unlabelled_pairs(subjects, split)
    except DataError as error:
        raise DataError(f"adapt.target: {error}; the target needs other images, see adapt.target.source") from error


def _register_and_crop(pairs: list[Pair], source: list[Pair], sections: Sections, folder: Path) -> None:
    """Register and crop pairs with source atlases, without access to their labels."""
    blind = [Pair(replace(p.ct, label=None), replace(p.mr, label=None), p.role) for p in pairs]
    registered = register_pairs(blind, sections.register, sections.runtime)
    train = one_per_ct(select(source, "train"))[: sections.crop.num_atlases]
    atlases = tuple(registered_atlas(REGISTERED / pair.name) for pair in train)
    tasks = [
        CropTask(
            name=pair.name,
            images={Modality.CT: pair.ct.image, Modality.MR: registered[pair.name] / "mr.nii.gz"},
            labels={},
            atlases=atlases,
            config=sections.crop,
            target=folder / pair.name,
        )
        for pair in blind
    ]
    crop_cases(tasks, sections.runtime)


def prepare_modality(scenario: Scenario, sections: Sections, folder: Path) -> tuple[Domain, Labels]:
    """Crop source images with labels and target images without; a subject keeps its pair's role.

    Raises:
        DataError: too few labelled subjects, or a case cannot be cropped.
    """
    pairs = make_pairs(read_manifest(MANIFEST), sections.split)
    source, target = (subjects_by_role(pairs, modality) for modality in MODALITIES[scenario])
    train = source["train"]
    tasks = [crop_task(s, train, sections.crop, folder / SOURCE_CASES, labelled=True) for s in _all(source)]
    tasks += [crop_task(s, train, sections.crop, folder / TARGET_CASES, labelled=False) for s in _all(target)]
    crop_cases(tasks, sections.runtime)
    labels = {subject.name: subject.label for subject in _all(target) if subject.label}
    return Domain(scenario, _names(source), _names(target)), labels


def crop_task(subject: Subject, train: list[Subject], config: CropConfig, folder: Path, *, labelled: bool) -> CropTask:
    """Describe how to crop a subject; the first `train` subjects are atlases, never itself unless it is alone."""
    atlases = [other for other in train if other.name != subject.name]
    if not atlases:
        logger.warning("%s: the only training subject, its ROI is that of its own label", subject.name)
    return CropTask(
        name=subject.name,
        images={subject.modality: subject.image},
        labels={subject.modality: subject.label} if labelled and subject.label else {},
        atlases=tuple((other.image, other.label) for other in atlases[: config.num_atlases] if other.label),
        config=config,
        target=folder / subject.name,
        atlas_modality=train[0].modality,
    )


def write_target_labels(folder: Path, cases: Path, labels: Mapping[str, Path]) -> None:
    """Write label maps on the working and native grid of each case, and the list of cases.

    Raises:
        DataError: a label map cannot be read, or its grid is not its image's.
    """
    for name, path in sorted(labels.items()):
        case = read_cropped(cases / name)
        try:
            native = read_label_map(path)
        except ValueError as error:
            raise DataError(f"{name}: {error}") from error
        if not native.grid.same_as(case.native):
            raise DataError(f"{name}: {path} is on another grid than the image; repair its header or remove it")
        if not native.data.any():
            raise DataError(f"{name}: {path} labels no voxel; repair it, or remove it to have no label")
        working = sample_labels(native, case.grid)
        if not working.data.any():
            logger.warning("%s: the crop holds no labelled voxel, its heart ROI is elsewhere", name)
        write_label_map(folder / name / WORKING, working)
        write_label_map(folder / name / NATIVE, native)
    write_labelled_names(folder, labels)


def _all(subjects: dict[Role, list[Subject]]) -> list[Subject]:
    return [subject for group in subjects.values() for subject in group]


def _names(subjects: dict[Role, list[Subject]]) -> Roles:
    return {role: [subject.name for subject in group] for role, group in subjects.items()}
