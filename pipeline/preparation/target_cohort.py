"""Scenario `cohort`: pairs of a second cohort, registered and cropped without a look at their labels."""

from dataclasses import replace
from pathlib import Path

from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.cohort import gather_cohort
from pipeline.cohort.integrity import MIN_LABELLED
from pipeline.cohort.pairs import (
    Pair,
    Subject,
    make_pairs,
    make_unlabelled_pairs,
    one_per_ct,
    read_manifest,
    select,
)
from pipeline.config.sections import SplitConfig, TargetConfig
from pipeline.preparation.domain import ROLES, TARGET_CASES, Domain
from pipeline.preparation.heart_boxes import AtlasFiles
from pipeline.preparation.register_pairs import register_pairs
from pipeline.preparation.target_crop import TargetCropTask, crop_cases
from pipeline.preparation.target_prepared import PreparedDomain, Sections
from pipeline.runtime.errors import DataError
from pipeline.runtime.paths import MANIFEST, REGISTERED


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
