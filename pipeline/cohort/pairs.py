"""Pair CTs with MRs and split the pairs into training, validation and test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import pandas as pd

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import Modality
from pipeline.config.sections import SplitConfig

T = TypeVar("T")
Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = get_args(Role)
COLUMNS = ["subject", "modality", "image", "label"]
OPTIONAL_COLUMNS = ["patient", "role", "missing"]


@dataclass(frozen=True)
class Subject:
    """One person scanned once, for instance `ct_1001`; subjects of one patient share a role, None if the split decides.

    `missing` lists abbreviations of structures that the cohort does not delineate.
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
        """Patient; the scan itself where the cohort does not identify patients."""
        return self.patient or self.name


@dataclass(frozen=True)
class Pair:
    """A CT and an MR to be registered, of one patient or of two."""

    ct: Subject
    mr: Subject
    role: Role

    @property
    def name(self) -> str:
        """For instance `ct_1001+mr_1007`."""
        return f"{self.ct.name}+{self.mr.name}"

    @property
    def is_one_patient(self) -> bool:
        """True if both scans are of the same person."""
        return self.ct.person == self.mr.person


def write_manifest(path: Path, subjects: list[Subject]) -> None:
    """Write the manifest as CSV, sorted by name, with paths relative to its folder."""
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
    """Read the manifest of the download stage; DataError if it is missing."""
    if not path.is_file():
        raise DataError(f"{path} not found: run `dvc repro download`")
    rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    return [
        Subject(
            name=row["subject"],
            modality=Modality(row["modality"]),
            image=path.parent / row["image"],
            label=path.parent / row["label"] if row["label"] else None,
            patient=row.get("patient", ""),
            role=next((role for role in ROLES if role == row.get("role")), None),
            missing=tuple(row.get("missing", "").split()),
        )
        for row in rows
    ]


def make_pairs(subjects: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair labelled CT with labelled MR subjects, split by patient.

    Patients with both modalities are paired with themselves, and only they test; the others train. Where no patient
    has both, subjects are shuffled by `params.seed` and grouped, and every CT is paired with an MR of its group. All
    folds have the same pairs. Roles that the cohort gives are kept; patients without a role train.

    `pairing: same_patient` allows no pairs of two patients. `cross_patient` exchanges the MRs of two or three patients,
    who share a role. `mrs_per_ct` > 1 adds pairs to training CTs.

    Pairs are ordered by name. DataError for too few labelled subjects, or roles that lack a pair or contradict `folds`.
    """
    labelled = [subject for subject in subjects if subject.label is not None]
    for modality in Modality:
        if (num := len(_of(labelled, modality))) < 3:
            raise DataError(
                f"{num} labelled {modality.value.upper()} subjects: at least 3 are needed "
                "(one each to train, validate and test)"
            )
    if any(subject.role for subject in labelled):
        pairs = _pair_by_role(labelled, params)
    elif _own_pairs(labelled, "train")[0] or params.pairing == "same_patient":
        pairs = _pair_patients(labelled, params)
    else:
        pairs = _pair_strangers(labelled, params)
    if not select(pairs, "validation"):
        pairs = _hold_out(pairs, params.validation_fraction)
    if params.mrs_per_ct > 1:
        train = sorted(select(pairs, "train"), key=lambda pair: pair.name)
        others = [pair for pair in pairs if pair.role != "train"]
        pairs = [*others, *_with_more_mrs(train, params.mrs_per_ct)]
    return sorted(pairs, key=lambda pair: pair.name)


def make_unlabelled_pairs(subjects: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair CT with MR subjects for training without labels, ordered by name, each CT once; `mrs_per_ct` is ignored.

    Patients with both modalities are paired with themselves, the others after a shuffle by `params.seed`. DataError for
    no CT or no MR, or no pair that `pairing` allows.
    """
    num_ct, num_mr = (len(_of(subjects, modality)) for modality in Modality)
    if not num_ct or not num_mr:
        raise DataError(f"{num_ct} CT and {num_mr} MR subjects: at least one of each is needed for a pair")
    own, others = _own_pairs(subjects, "train")
    if not (pairs := [*_partnered(own, params), *_in_turn(others, "train", params)]):
        raise DataError(f"no two scans make a pair with split.pairing = {params.pairing}")
    return sorted(pairs, key=lambda pair: pair.name)


def unpaired(subjects: list[Subject], pairs: list[Pair]) -> list[Subject]:
    """List the labelled subjects in no pair, ordered by name."""
    names = {subject.name for pair in pairs for subject in (pair.ct, pair.mr)}
    return sorted((s for s in subjects if s.label and s.name not in names), key=lambda s: s.name)


def subjects_by_role(pairs: list[Pair], modality: Modality) -> dict[Role, list[Subject]]:
    """Group the subjects of one modality by role, each once, ordered by name."""
    groups: dict[Role, dict[str, Subject]] = {role: {} for role in ROLES}
    for pair in pairs:
        subject = pair.ct if modality is Modality.CT else pair.mr
        groups[pair.role][subject.name] = subject
    return {role: [group[name] for name in sorted(group)] for role, group in groups.items()}


def select(pairs: list[Pair], role: Role) -> list[Pair]:
    """Select the pairs of one role, in order."""
    return [pair for pair in pairs if pair.role == role]


def one_per_ct(pairs: list[Pair]) -> list[Pair]:
    """Select the first pair of each CT, ordered by name."""
    first: dict[str, Pair] = {}
    for pair in sorted(pairs, key=lambda pair: pair.name):
        first.setdefault(pair.ct.name, pair)
    return list(first.values())


def circles_of(items: Sequence[T]) -> list[list[T]]:
    """Cut a sequence into groups of two, the last of three for an odd length.

    >>> circles_of("abcde")
    [['a', 'b'], ['c', 'd', 'e']]
    """
    starts = list(range(0, max(1, len(items) - 1), 2))
    ends = [*starts[1:], len(items)]
    return [list(items[start:end]) for start, end in zip(starts, ends, strict=True) if start < end]


def _of(subjects: list[Subject], modality: Modality) -> list[Subject]:
    return [subject for subject in subjects if subject.modality is modality]


def _shuffled(subjects: list[Subject], modality: Modality, seed: int) -> list[Subject]:
    ordered = sorted(_of(subjects, modality), key=lambda subject: subject.name)
    order = np.random.default_rng([seed, list(Modality).index(modality)]).permutation(len(ordered))
    return [ordered[i] for i in order]


def _pair_strangers(labelled: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair subjects of which nobody has both modalities."""
    ct_groups, mr_groups = (_groups(_shuffled(labelled, m, params.seed), params) for m in Modality)
    pairs: list[Pair] = []
    for index, (cts, mrs) in enumerate(zip(ct_groups, mr_groups, strict=True)):
        pairs += _paired_in_turn(cts, mrs, "test" if index == params.fold else "train")
    return pairs


def _pair_patients(labelled: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair patients with themselves; the others come first, so validation pairs are of one patient."""
    own, others = _own_pairs(labelled, "train")
    strangers = _in_turn(others, "train", params)
    order = np.random.default_rng([params.seed, len(Modality)]).permutation(len(own))
    # A unit shares a role: a patient, or patients who exchange MRs.
    units = _circles([own[i] for i in order], params)
    if (few := len(units) + min(2, len(strangers))) < 3 or not units:
        each = "a patient" if params.pairing != "cross_patient" else "two patients"
        raise DataError(
            f"split.pairing = {params.pairing}: {len(own)} patients with both modalities are {3 - few} too few: "
            f"{each} with both is needed to test, to validate and to train"
        )
    pairs = strangers
    for index, group in enumerate(_groups(units, params, num_others=len(strangers))):
        role: Role = "test" if index == params.fold else "train"
        pairs = pairs + [replace(pair, role=role) for unit in group for pair in unit]
    return pairs


def _pair_by_role(labelled: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair within the roles that the cohort gives."""
    if params.folds > 1:
        raise DataError(
            f"split.folds = {params.folds} contradicts the roles that the cohort gives: "
            "set split.folds to 1, or leave the column role empty"
        )
    given = {subject.person: subject.role for subject in labelled if subject.role}
    has_own = bool(_own_pairs(labelled, "train")[0])
    pairs: list[Pair] = []
    for role in ROLES:
        own, others = _own_pairs([s for s in labelled if given.get(s.person, "train") == role], role)
        strangers = _in_turn(others, role, params)
        exchanged = _partnered(own, params)
        if role != "train" and own and not exchanged:
            raise DataError(
                f"{own[0].ct.person}: role {role}, and split.pairing = {params.pairing} needs a second patient "
                "with both modalities in that role; add one, or take the role away"
            )
        if role != "train" and others and (not strangers or (role == "test" and has_own)):
            lone = ", ".join(sorted(subject.name for subject in others))
            what = "but the same patient's other modality is missing or has no label map"
            raise DataError(f"{lone}: role {role}, {what}; add it, or take the role away")
        pairs += [*strangers, *exchanged]
    if absent := sorted({"train", "test"} - {pair.role for pair in pairs}):
        raise DataError(f"the roles that the cohort gives leave no pair with the role {', '.join(absent)}")
    return pairs


def _own_pairs(subjects: list[Subject], role: Role) -> tuple[list[Pair], list[Subject]]:
    """Pair the scans of patients with both modalities; return the other subjects too."""
    people: dict[str, dict[Modality, Subject]] = {}
    for subject in sorted(subjects, key=lambda subject: (subject.person, subject.name)):
        people.setdefault(subject.person, {})[subject.modality] = subject
    own = [Pair(scans[Modality.CT], scans[Modality.MR], role) for scans in people.values() if len(scans) > 1]
    return own, [subject for scans in people.values() if len(scans) == 1 for subject in scans.values()]


def _in_turn(others: list[Subject], role: Role, params: SplitConfig) -> list[Pair]:
    """Pair shuffled patients with one modality each; none for `same_patient`."""
    if params.pairing == "same_patient":
        return []
    ct, mr = (_shuffled(others, modality, params.seed) for modality in Modality)
    return _paired_in_turn(ct, mr, role)


def _paired_in_turn(cts: list[Subject], mrs: list[Subject], role: Role) -> list[Pair]:
    """Pair every CT with the MRs in turn; none where one side is empty."""
    return [Pair(ct, mrs[i % len(mrs)], role) for i, ct in enumerate(cts)] if mrs else []


def _circles(own: list[Pair], params: SplitConfig) -> list[list[Pair]]:
    """Keep each pair alone; for `cross_patient`, exchange MRs in circles of two or three."""
    if params.pairing != "cross_patient":
        return [[pair] for pair in own]
    circles = [circle for circle in circles_of(own) if len(circle) > 1]
    return [[replace(pair, mr=circle[(i + 1) % len(circle)].mr) for i, pair in enumerate(circle)] for circle in circles]


def _partnered(own: list[Pair], params: SplitConfig) -> list[Pair]:
    """Pair patients with both modalities with themselves or, for `cross_patient`, with each other."""
    return [pair for circle in _circles(own, params) for pair in circle]


def _groups(items: list[T], params: SplitConfig, num_others: int = 0) -> list[list[T]]:
    """Divide shuffled items into a test and a training group, or into folds; at least two pairs do not test."""
    if params.folds == 1:
        largest = len(items) - max(0, 2 - num_others)
        num_test = min(max(1, round(params.test_fraction * len(items))), largest)
        return [items[:num_test], items[num_test:]]
    if len(items) < params.folds:
        raise DataError(f"split.folds = {params.folds} needs as many subjects, found {len(items)}")
    return [items[start :: params.folds] for start in range(params.folds)]


def _hold_out(pairs: list[Pair], fraction: float) -> list[Pair]:
    """Hold out the last training pairs for validation, with all that share a person."""
    train = select(pairs, "train")
    num_validation = max(1, math.floor(fraction * len(train)))
    held: set[str] = set()
    for last in reversed(train):
        if len(held) < num_validation:
            held |= _connected(train, last)
    if len(held) >= len(train):
        raise DataError(f"{len(train)} training pairs leave none to train after validation pairs are held out")
    return [replace(p, role="validation") if p.name in held else p for p in pairs]


def _connected(pairs: Sequence[Pair], start: Pair) -> set[str]:
    """Find the pairs that share a person with `start`, directly or through other pairs."""
    people = {start.ct.person, start.mr.person}
    names: set[str] = set()
    while True:
        sharing = [pair for pair in pairs if {pair.ct.person, pair.mr.person} & people]
        if len(sharing) == len(names):
            return names
        names = {pair.name for pair in sharing}
        people |= {subject.person for pair in sharing for subject in (pair.ct, pair.mr)}


def _with_more_mrs(train: Sequence[Pair], mrs_per_ct: int) -> list[Pair]:
    """Pair every training CT with more MRs of other patients, each MR equally often."""
    mrs = list({pair.mr.name: pair.mr for pair in train}.values())
    places = {mr.name: place for place, mr in enumerate(mrs)}
    pairs: list[Pair] = []
    for pair in train:
        start = places[pair.mr.name]
        people = (pair.ct.person, pair.mr.person)
        others = [mr for mr in (*mrs[start + 1 :], *mrs[:start]) if mr.person not in people]
        if len(others) < mrs_per_ct - 1:
            raise DataError(
                f"split.mrs_per_ct = {mrs_per_ct}, but {pair.ct.name} can be paired with {1 + len(others)} "
                f"training MRs: set it to {1 + len(others)} or less"
            )
        pairs += [pair, *(replace(pair, mr=mr) for mr in others[: mrs_per_ct - 1])]
    return pairs
