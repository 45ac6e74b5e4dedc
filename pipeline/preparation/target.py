"""Prepare the target domain of an adaptation; its labels go to a folder of their own.

Scenario `cohort` has pairs of a second cohort. Scenarios `ct_to_mr` and `mr_to_ct` have labelled images of one modality
and unlabelled ones of the other, of different people, as in SIFA (Chen 2020, IEEE TMI 39:2494, section IV-A).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossmodalnet.errors import DataError, resource_problem
from crossmodalnet.imaging.nifti import read_image, read_label_map, write_label_map
from crossmodalnet.imaging.resample import sample_image, sample_labels
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.io.console import track
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.syn import Start
from crossmodalnet.roi.box import box_of, overflow_mm, working_grid
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
from pipeline.preparation.cases import CroppedCase, read_cropped, write_cropped
from pipeline.preparation.cropping import COST, ENVIRONMENT, AtlasFiles, heart_box
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
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sections:
    """The sections of params.yaml by which a domain is prepared."""

    register: RegistrationConfig
    split: SplitConfig
    crop: CropConfig
    runtime: RuntimeConfig = ALL_CORES


@dataclass(frozen=True)
class PreparedDomain:
    """A domain whose images are written.

    Attributes:
        domain: record of the domain.
        labels: native label map of each target case that has one, by case name; only `write_target_labels` reads
            them.
    """

    domain: Domain
    labels: dict[str, Path]


@dataclass(frozen=True)
class TargetCropTask:
    """One case to crop.

    Attributes:
        name: name of the case.
        images: files by modality, on one grid; the heart is found in the CT where there is one.
        label: label map on that grid, for a case of the source domain alone.
        atlases: labelled training subjects of the source domain; empty where the case's own label gives its box.
        atlas_modality: modality of the atlases.
        params: section `crop`, whose `roi` is not looked at.
        target: folder to write.
    """

    name: str
    images: dict[Modality, Path]
    label: Path | None
    atlases: tuple[AtlasFiles, ...]
    atlas_modality: Modality
    params: CropConfig
    target: Path


def crop_cases(tasks: Sequence[TargetCropTask], runtime: RuntimeConfig = ALL_CORES) -> None:
    """Crop all cases by parallel workers.

    Raises:
        DataError: an image cannot be used, or no heart is found in it.
    """
    images = [path for task in tasks for path in task.images.values()]
    work = Work("crop", COST, images, ENVIRONMENT, kept=True)
    for task, over_mm in track(run_cases(crop_case, tasks, work, runtime), "crop", len(tasks)):
        if over_mm > 0:
            logger.warning(
                "%s: heart box plus crop.margin_mm is %.0f mm longer than crop.size times crop.spacing_mm; "
                "the grid stays centred on the box", task.name, over_mm,
            )  # fmt: skip


def crop_case(task: TargetCropTask) -> float:
    """Crop one case, in a worker process; gives the millimetres by which its box is longer than the grid.

    Raises:
        DataError: an image cannot be used, or no heart is found in it.
    """
    found_in = Modality.CT if Modality.CT in task.images else Modality.MR
    try:
        images = {modality: read_image(path) for modality, path in task.images.items()}
        label = read_label_map(task.label) if task.label else None
        if task.atlases:
            file, image = task.images[found_in], images[found_in]
            start = initialisation(found_in, task.atlas_modality)
            box = heart_box(file, image, task.atlases, task.params, found_in, task.atlas_modality, start)
        elif label:
            box = box_of(label)
        else:
            raise ValueError("no atlas and no label map, so no heart box")
    except (ValueError, RuntimeError) as error:
        if resource_problem(error):
            raise
        raise DataError(f"{task.name}: {error}") from error
    grid = working_grid(box, task.params.size, task.params.spacing_mm)
    case = CroppedCase(
        task.name,
        _sampled(images.get(Modality.CT), grid),
        _sampled(images.get(Modality.MR), grid),
        sample_labels(label, grid) if label else None,
        images[found_in].grid,
    )
    write_cropped(task.target, case)
    return overflow_mm(box.grown(task.params.margin_mm), grid)


def initialisation(image: Modality, atlas: Modality) -> Start:
    """Where the registration of an atlas starts: CT to CT as in the stage `crop`, all else by a search."""
    return "centre_of_mass" if image is atlas is Modality.CT else "search"


def _sampled(image: Volume | None, grid: Grid) -> Volume | None:
    return None if image is None else sample_image(image, grid, float(image.data.min()))


def write_target_labels(folder: Path, cases: Path, labels: Mapping[str, Path]) -> None:
    """Write each label map on the working grid of its case and on its native grid, and the list of cases.

    Args:
        folder: folder to be filled.
        cases: folder of the cropped target cases.
        labels: native label maps by case name.

    Raises:
        DataError: a label map cannot be read, or is on another grid than its image.
    """
    for name, path in sorted(labels.items()):
        case = read_cropped(cases / name)
        try:
            native = read_label_map(path)
        except ValueError as error:
            raise DataError(f"{name}: {error}") from error
        if not native.grid.same_as(case.native):
            raise DataError(
                f"{name}: {path} is on another grid than the image; repair its header or remove it"
            )
        if not native.data.any():
            raise DataError(f"{name}: {path} labels no voxel; repair it, or remove it to have no label")
        working = sample_labels(native, case.grid)
        if not working.data.any():
            logger.warning("%s: the crop holds no labelled voxel, its heart box is elsewhere", name)
        write_label_map(folder / name / WORKING, working)
        write_label_map(folder / name / NATIVE, native)
    write_labelled_names(folder, labels)


def prepare_cohort(target: TargetConfig, sections: Sections, folder: Path, scratch: Path) -> PreparedDomain:
    """Gather, pair, register and crop the target cohort into the folder `target` of `folder`.

    Args:
        target: parameters of the target cohort.
        sections: sections on pairing, registering and cropping.
        folder: receives the cases.
        scratch: receives the raw cohort, for as long as the labels are to be read.

    Raises:
        DataError: the cohort is unsound, has no pair, or a pair cannot be registered or cropped.
    """
    source = read_manifest(MANIFEST)
    if target.source == "unlabelled":
        # A patient with a label has a role in the source domain, which his or her other scans must not leave.
        known = {subject.person for subject in source if subject.label is not None}
        unknown = [s for s in source if s.label is None and s.person not in known]
        pairs = _pair_all(unknown, sections.split)
    else:
        subjects = gather_cohort(
            scratch, target.as_data(), sections.runtime, needs_labels=False, section="adapt.target"
        )
        pairs = pair_target(subjects, sections.split)
    atlases = choose_atlases(make_pairs(source, sections.split), sections.crop.num_atlases)
    write_cases(pairs, atlases, sections, folder / TARGET_CASES)
    roles = {role: [pair.name for pair in select(pairs, role)] for role in ROLES}
    labels = {pair.name: pair.ct.label for pair in pairs if pair.ct.label}
    return PreparedDomain(Domain("cohort", None, roles), labels)


def pair_target(subjects: list[Subject], split: SplitConfig) -> list[Pair]:
    """Pair labelled subjects by role as in the source domain; where there are too few, all subjects, to train."""
    counts = [sum(s.modality is modality and s.label is not None for s in subjects) for modality in Modality]
    if min(counts) >= MIN_LABELLED:
        return make_pairs(subjects, split)
    return _pair_all(subjects, split)


def choose_atlases(pairs: list[Pair], num_atlases: int) -> tuple[AtlasFiles, ...]:
    """The first training pairs of the source domain, whose CT and label find the hearts of the target."""
    names = [pair.name for pair in one_per_ct(select(pairs, "train"))][:num_atlases]
    return tuple(AtlasFiles(REGISTERED / n / "ct.nii.gz", REGISTERED / n / "ct_label.nii.gz") for n in names)


def write_cases(pairs: list[Pair], atlases: tuple[AtlasFiles, ...], sections: Sections, folder: Path) -> None:
    """Register and crop the pairs; their labels are taken off before, so nothing written depends on them."""
    blind = [Pair(replace(p.ct, label=None), replace(p.mr, label=None), p.role) for p in pairs]
    registered = register_pairs(blind, sections.register, sections.runtime)
    tasks = [
        TargetCropTask(
            name=pair.name,
            images={Modality.CT: pair.ct.image, Modality.MR: registered[pair.name] / "mr.nii.gz"},
            label=None,
            atlases=atlases,
            atlas_modality=Modality.CT,
            params=sections.crop,
            target=folder / pair.name,
        )
        for pair in blind
    ]
    crop_cases(tasks, sections.runtime)


def _pair_all(subjects: list[Subject], split: SplitConfig) -> list[Pair]:
    try:
        return make_unlabelled_pairs(subjects, split)
    except DataError as error:
        raise DataError(
            f"adapt.target: {error}; the target needs other images, see adapt.target.source"
        ) from error


MODALITIES: dict[Scenario, tuple[Modality, Modality]] = {
    "ct_to_mr": (Modality.CT, Modality.MR),
    "mr_to_ct": (Modality.MR, Modality.CT),
}


def prepare_modality(scenario: Scenario, sections: Sections, folder: Path) -> PreparedDomain:
    """Crop the source images with their labels and the target images without, into folders of `folder`.

    A subject has the role that its pair has. The heart boxes of both are found by labelled training subjects of the
    source modality; a source subject is never its own atlas, unless it is the only one that trains.

    Args:
        scenario: `ct_to_mr` or `mr_to_ct`.
        sections: sections on splitting and cropping.
        folder: receives `source/<subject>` and `target/<subject>`.

    Raises:
        DataError: too few labelled subjects, or a case cannot be cropped.
    """
    source_modality, target_modality = MODALITIES[scenario]
    pairs = make_pairs(read_manifest(MANIFEST), sections.split)
    source, target = (subjects_by_role(pairs, m) for m in (source_modality, target_modality))
    tasks = [
        *(source_task(s, source["train"], sections.crop, folder) for s in _all(source)),
        *(target_task(s, source["train"], sections.crop, folder) for s in _all(target)),
    ]
    crop_cases(tasks, sections.runtime)
    labels = {subject.name: subject.label for subject in _all(target) if subject.label}
    return PreparedDomain(Domain(scenario, _names(source), _names(target)), labels)


def source_task(subject: Subject, train: list[Subject], params: CropConfig, folder: Path) -> TargetCropTask:
    """How to crop a labelled subject of the source modality."""
    others = [other for other in train if other.name != subject.name]
    if not others:
        logger.warning("%s: the only training subject, its box is that of its own label", subject.name)
    return TargetCropTask(
        name=subject.name,
        images={subject.modality: subject.image},
        label=subject.label,
        atlases=_atlases(others, params),
        atlas_modality=subject.modality,
        params=params,
        target=folder / SOURCE_CASES / subject.name,
    )


def target_task(subject: Subject, train: list[Subject], params: CropConfig, folder: Path) -> TargetCropTask:
    """How to crop a subject of the target modality: by `train`, labelled source subjects; its label is left out."""
    return TargetCropTask(
        name=subject.name,
        images={subject.modality: subject.image},
        label=None,
        atlases=_atlases(train, params),
        atlas_modality=train[0].modality,
        params=params,
        target=folder / TARGET_CASES / subject.name,
    )


def _atlases(train: list[Subject], params: CropConfig) -> tuple[AtlasFiles, ...]:
    return tuple(AtlasFiles(s.image, s.label) for s in train[: params.num_atlases] if s.label)


def _all(subjects: dict[Role, list[Subject]]) -> list[Subject]:
    return [subject for group in subjects.values() for subject in group]


def _names(subjects: dict[Role, list[Subject]]) -> Roles:
    return {role: [subject.name for subject in group] for role, group in subjects.items()}
