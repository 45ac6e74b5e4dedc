"""Scenarios `ct_to_mr` and `mr_to_ct`: single images of one modality to those of the other, unpaired.

After SIFA (Chen 2020, IEEE TMI 39:2494, section IV-A): labelled images of one modality and unlabelled ones of the
other, of different people, adapted without pairs. There slices are cropped by hand; here the heart box is found.
"""

import logging
from pathlib import Path

from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.pairs import Role, Subject, make_pairs, read_manifest, subjects_by_role
from pipeline.config.sections import CropConfig
from pipeline.preparation.domain import SOURCE_CASES, TARGET_CASES, Domain, Roles, Scenario
from pipeline.preparation.heart_boxes import AtlasFiles
from pipeline.preparation.target_crop import TargetCropTask, crop_cases
from pipeline.preparation.target_prepared import PreparedDomain, Sections
from pipeline.runtime.paths import MANIFEST

logger = logging.getLogger(__name__)

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
