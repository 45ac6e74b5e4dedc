"""The manifest, the split by subject, and the pairs: pure functions of manifest and parameters."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from crossmodalnet.labels import Modality
from pipeline.cases.params import SplitParams
from pipeline.common.errors import DataError

Role = Literal["train", "validation", "test"]
COLUMNS = ["subject", "modality", "image", "label"]
OPTIONAL_COLUMNS = ["patient", "role", "missing"]


@dataclass(frozen=True)
class Subject:
    """One person scanned once.

    Attributes:
        name: modality and number, for instance `ct_1001`.
        modality: CT or MR.
        image: NIfTI file.
        label: label map, or None for an unlabelled subject.
        patient: name of the person, where the cohort tells it; subjects of one patient have one role.
        role: role that the cohort wants for the patient; None where the split decides.
        missing: abbreviations of the structures that the cohort does not delineate.
    """

    name: str
    modality: Modality
    image: Path
    label: Path | None
    patient: str = ""
    role: Role | None = None
    missing: tuple[str, ...] = ()

    @property
    def person(self) -> str:
        """Name of the patient, that of the scan where the cohort tells none: then nobody was scanned twice."""
        return self.patient or self.name


@dataclass(frozen=True)
class Pair:
    """A CT and an MR subject of the same role, to be registered; they are different people.

    `role` is that of both subjects: no pair mixes training and test subjects.
    """

    ct: Subject
    mr: Subject
    role: Role

    @property
    def name(self) -> str:
        """For instance `ct_1001+mr_1007`."""
        return f"{self.ct.name}+{self.mr.name}"


def write_manifest(path: Path, subjects: list[Subject]) -> None:
    """Write the manifest as CSV, files relative to its folder, ordered by name; columns without a value left out."""
    rows = [
        (
            subject.name,
            subject.modality.value,
            subject.image.relative_to(path.parent).as_posix(),
            subject.label.relative_to(path.parent).as_posix() if subject.label else "",
            subject.patient,
            subject.role or "",
            " ".join(subject.missing),
        )
        for subject in sorted(subjects, key=lambda subject: subject.name)
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *OPTIONAL_COLUMNS])
    empty = [column for column in OPTIONAL_COLUMNS if not table[column].any()]
    table.drop(columns=empty).to_csv(path, index=False)


def read_manifest(path: Path) -> list[Subject]:
    """Read the manifest written by the download stage.

    Raises:
        DataError: no such file.
    """
    if not path.is_file():
        raise DataError(f"{path} not found: run `dvc repro download`")
    rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    return [_subject(path.parent, {str(key): str(value) for key, value in row.items()}) for row in rows]


def make_pairs(subjects: list[Subject], params: SplitParams) -> list[Pair]:
    """Pair labelled CT with labelled MR subjects, split by subject of both modalities.

    The subjects of each modality are shuffled by `params.seed` and divided into test, validation and training groups;
    every CT is paired with an MR of its own group (MRs are taken in turn where there are fewer). With `folds` > 1
    the groups of all folds are laid out once, so the pairs, and their registrations, are those of every fold.

    Returns:
        Pairs ordered by name, every labelled CT once.

    Raises:
        DataError: too few labelled subjects for one training, one validation and one test pair.
    """
    ct, mr = (_shuffled(_labelled(subjects, m), m, params.seed) for m in (Modality.CT, Modality.MR))
    ct_groups, mr_groups = (_groups(group, params) for group in (ct, mr))
    pairs: list[Pair] = []
    for index, (cts, mrs) in enumerate(zip(ct_groups, mr_groups, strict=True)):
        role: Role = "test" if index == params.fold else "train"
        pairs += [Pair(subject, mrs[i % len(mrs)], role) for i, subject in enumerate(cts)]
    return sorted(_hold_out(pairs, params.validation_fraction), key=lambda pair: pair.name)


def make_unlabelled_pairs(subjects: list[Subject], params: SplitParams) -> list[Pair]:
    """Pair CT with MR subjects for training without labels; whether they have any is not looked at.

    The subjects of each modality are shuffled by `params.seed` and paired in that order; MRs are taken in turn where
    there are fewer.

    Returns:
        Training pairs ordered by name, every CT once.

    Raises:
        DataError: no CT or no MR.
    """
    ct, mr = (
        _shuffled([s for s in subjects if s.modality is m], m, params.seed)
        for m in (Modality.CT, Modality.MR)
    )
    if not ct or not mr:
        raise DataError(f"{len(ct)} CT and {len(mr)} MR subjects: at least one of each is needed for a pair")
    pairs = [Pair(subject, mr[i % len(mr)], "train") for i, subject in enumerate(ct)]
    return sorted(pairs, key=lambda pair: pair.name)


def subjects_by_role(pairs: list[Pair], modality: Modality) -> dict[Role, list[Subject]]:
    """The subjects of one modality under the role of their pairs, each once, ordered by name."""
    found: dict[Role, dict[str, Subject]] = {role: {} for role in get_args(Role)}
    for pair in pairs:
        subject = pair.ct if modality is Modality.CT else pair.mr
        found[pair.role][subject.name] = subject
    return {role: [group[name] for name in sorted(group)] for role, group in found.items()}


def select(pairs: list[Pair], role: Role) -> list[Pair]:
    """The pairs of one role, in order."""
    return [pair for pair in pairs if pair.role == role]


def _subject(folder: Path, row: dict[str, str]) -> Subject:
    label = folder / row["label"] if row["label"] else None
    return Subject(
        name=row["subject"],
        modality=Modality(row["modality"]),
        image=folder / row["image"],
        label=label,
        patient=row.get("patient", ""),
        role=next((role for role in get_args(Role) if role == row.get("role")), None),
        missing=tuple(row.get("missing", "").split()),
    )


def _labelled(subjects: list[Subject], modality: Modality) -> list[Subject]:
    labelled = [s for s in subjects if s.modality is modality and s.label is not None]
    if len(labelled) < 3:
        raise DataError(
            f"{len(labelled)} labelled {modality.value.upper()} subjects: at least 3 are needed "
            "(one each to train, validate and test)"
        )
    return labelled


def _shuffled(subjects: list[Subject], modality: Modality, seed: int) -> list[Subject]:
    ordered = sorted(subjects, key=lambda subject: subject.name)
    order = np.random.default_rng([seed, list(Modality).index(modality)]).permutation(len(ordered))
    return [ordered[i] for i in order]


def _groups(subjects: list[Subject], params: SplitParams) -> list[list[Subject]]:
    if params.folds == 1:
        num_test = min(max(1, round(params.test_fraction * len(subjects))), len(subjects) - 2)
        return [subjects[:num_test], subjects[num_test:]]
    if len(subjects) < params.folds:
        raise DataError(f"split.folds = {params.folds} needs as many subjects, found {len(subjects)}")
    return [subjects[start :: params.folds] for start in range(params.folds)]


def _hold_out(pairs: list[Pair], fraction: float) -> list[Pair]:
    """Make the last training pairs, and all that share their MRs, validation pairs: no MR is on both sides."""
    train = select(pairs, "train")
    num_validation = max(1, math.floor(fraction * len(train)))
    held: set[str] = set()
    for last in reversed(train):
        if len(held) < num_validation:
            held |= {pair.name for pair in train if pair.mr.name == last.mr.name}
    if len(held) >= len(train):
        raise DataError(
            f"{len(train)} training pairs leave none to train after validation pairs are held out"
        )
    return [Pair(p.ct, p.mr, "validation") if p.name in held else p for p in pairs]
