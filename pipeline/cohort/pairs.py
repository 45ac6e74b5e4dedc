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
    """One person scanned once.

    Attributes:
        name: modality and number or patient, for instance `ct_1001`.
        modality: CT or MR.
        image: NIfTI file.
        label: label map, or None for an unlabelled subject.
        patient: name of the person, or empty; subjects of one patient have one role.
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
        """Name of the patient; that of the scan where the cohort does not tell, as if nobody was scanned twice."""
        return self.patient or self.name


@dataclass(frozen=True)
class Pair:
    """A CT and an MR to be registered, of one patient or of two; both subjects have the pair's role."""

    ct: Subject
    mr: Subject
    role: Role

    @property
    def name(self) -> str:
        """For instance `ct_1001+mr_1007`."""
        return f"{self.ct.name}+{self.mr.name}"

    @property
    def is_one_patient(self) -> bool:
        """Whether both scans are of the same person."""
        return self.ct.person == self.mr.person


def write_manifest(path: Path, subjects: list[Subject]) -> None:
    """Write the manifest as CSV: files relative to its folder, ordered by name, optional columns only with values."""
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
    """Read the manifest of the download stage.

    Raises:
        DataError: no such file.
    """
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

    Where patients have both modalities, these are paired with each other, and they alone test; patients with one
    modality are paired among each other, to train. Where nobody has both, the subjects of each modality are shuffled
    by `params.seed` and divided into groups; every CT is paired with an MR of its own group, MRs in turn where there
    are fewer. With `folds` > 1 the groups of all folds are laid out once, so all folds have the same pairs and
    registrations. Roles that the cohort gives are kept; patients without one train.

    With `pairing: same_patient` nobody is paired with another person. With `cross_patient` patients with both
    modalities exchange their MRs in circles of two or three, which have one role. With `mrs_per_ct` > 1 every
    training CT is paired with so many training MRs; that comes last and changes no other pair.

    Returns:
        Pairs ordered by name; no CT twice but where `mrs_per_ct` > 1 among those that train.

    Raises:
        DataError: too few labelled subjects for one training, one validation and one test pair, or roles that leave
            a role without a pair or contradict `folds`.
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
    """Pair CT with MR subjects for training without labels; label maps are ignored, and so is `mrs_per_ct`.

    A patient's own CT and MR are paired. The other subjects of each modality are shuffled by `params.seed` and paired
    in that order, MRs in turn where there are fewer. `pairing` applies as for labelled subjects.

    Returns:
        Training pairs ordered by name, no CT twice.

    Raises:
        DataError: no CT or no MR, or no pair that `pairing` allows.
    """
    num_ct, num_mr = (len(_of(subjects, modality)) for modality in Modality)
    if not num_ct or not num_mr:
        raise DataError(f"{num_ct} CT and {num_mr} MR subjects: at least one of each is needed for a pair")
    own, others = _own_pairs(subjects, "train")
    if not (pairs := [*_partnered(own, params), *_in_turn(others, "train", params)]):
        raise DataError(f"no two scans make a pair with split.pairing = {params.pairing}")
    return sorted(pairs, key=lambda pair: pair.name)


def unpaired(subjects: list[Subject], pairs: list[Pair]) -> list[Subject]:
    """Give the labelled subjects that are in no pair, ordered by name."""
    names = {subject.name for pair in pairs for subject in (pair.ct, pair.mr)}
    return sorted((s for s in subjects if s.label and s.name not in names), key=lambda s: s.name)


def subjects_by_role(pairs: list[Pair], modality: Modality) -> dict[Role, list[Subject]]:
    """Give the subjects of one modality under the role of their pairs, each once, ordered by name."""
    groups: dict[Role, dict[str, Subject]] = {role: {} for role in ROLES}
    for pair in pairs:
        subject = pair.ct if modality is Modality.CT else pair.mr
        groups[pair.role][subject.name] = subject
    return {role: [group[name] for name in sorted(group)] for role, group in groups.items()}


def select(pairs: list[Pair], role: Role) -> list[Pair]:
    """Give the pairs of one role, in order."""
    return [pair for pair in pairs if pair.role == role]


def one_per_ct(pairs: list[Pair]) -> list[Pair]:
    """Give the first pair of each CT, ordered by name."""
    first: dict[str, Pair] = {}
    for pair in sorted(pairs, key=lambda pair: pair.name):
        first.setdefault(pair.ct.name, pair)
    return list(first.values())


def circles_of(items: Sequence[T]) -> list[list[T]]:
    """Cut a sequence into groups of two, the last of three where the number is odd; a lone item is a group of one.

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
    """Pair people none of whom was scanned twice."""
    ct_groups, mr_groups = (_groups(_shuffled(labelled, m, params.seed), params) for m in Modality)
    pairs: list[Pair] = []
    for index, (cts, mrs) in enumerate(zip(ct_groups, mr_groups, strict=True)):
        pairs += _paired_in_turn(cts, mrs, "test" if index == params.fold else "train")
    return pairs


def _pair_patients(labelled: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair patients with themselves, and the others among each other to train.

    The others come first, so that validation pairs, the last to train, are of one patient where that is possible.
    """
    own, others = _own_pairs(labelled, "train")
    strangers = _in_turn(others, "train", params)
    order = np.random.default_rng([params.seed, len(Modality)]).permutation(len(own))
    # What stays together: a patient, or patients who exchange their MRs.
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
    """Pair the scans of everyone who has both modalities, ordered by patient; give the other subjects too."""
    people: dict[str, dict[Modality, Subject]] = {}
    for subject in sorted(subjects, key=lambda subject: (subject.person, subject.name)):
        people.setdefault(subject.person, {})[subject.modality] = subject
    own = [Pair(scans[Modality.CT], scans[Modality.MR], role) for scans in people.values() if len(scans) > 1]
    return own, [subject for scans in people.values() if len(scans) == 1 for subject in scans.values()]


def _in_turn(others: list[Subject], role: Role, params: SplitConfig) -> list[Pair]:
    """Pair people of one modality each, shuffled; none for `same_patient`."""
    if params.pairing == "same_patient":
        return []
    ct, mr = (_shuffled(others, modality, params.seed) for modality in Modality)
    return _paired_in_turn(ct, mr, role)


def _paired_in_turn(cts: list[Subject], mrs: list[Subject], role: Role) -> list[Pair]:
    """Pair every CT, with MRs in turn where there are fewer; none where one side is empty."""
    return [Pair(ct, mrs[i % len(mrs)], role) for i, ct in enumerate(cts)] if mrs else []


def _circles(own: list[Pair], params: SplitConfig) -> list[list[Pair]]:
    """Keep patients with both modalities by themselves; for `cross_patient`, swap MRs in circles of two or three."""
    if params.pairing != "cross_patient":
        return [[pair] for pair in own]
    circles = [circle for circle in circles_of(own) if len(circle) > 1]
    return [
        [replace(pair, mr=circle[(i + 1) % len(circle)].mr) for i, pair in enumerate(circle)]
        for circle in circles
    ]


def _partnered(own: list[Pair], params: SplitConfig) -> list[Pair]:
    """Pair patients with both modalities with themselves or, for `cross_patient`, with each other."""
    return [pair for circle in _circles(own, params) for pair in circle]


def _groups(items: list[T], params: SplitConfig, num_others: int = 0) -> list[list[T]]:
    """Divide into a testing and a training group, or into folds.

    Args:
        items: shuffled.
        params: `folds` and `test_fraction`.
        num_others: number of training pairs beside the items; together at least two must not test.
    """
    if params.folds == 1:
        largest = len(items) - max(0, 2 - num_others)
        num_test = min(max(1, round(params.test_fraction * len(items))), largest)
        return [items[:num_test], items[num_test:]]
    if len(items) < params.folds:
        raise DataError(f"split.folds = {params.folds} needs as many subjects, found {len(items)}")
    return [items[start :: params.folds] for start in range(params.folds)]


def _hold_out(pairs: list[Pair], fraction: float) -> list[Pair]:
    """Make the last training pairs validation pairs, with all that share a person: nobody is on both sides."""
    train = select(pairs, "train")
    num_validation = max(1, math.floor(fraction * len(train)))
    held: set[str] = set()
    for last in reversed(train):
        if len(held) < num_validation:
            held |= _connected(train, last)
    if len(held) >= len(train):
        raise DataError(
            f"{len(train)} training pairs leave none to train after validation pairs are held out"
        )
    return [replace(p, role="validation") if p.name in held else p for p in pairs]


def _connected(pairs: Sequence[Pair], start: Pair) -> set[str]:
    """Name the pairs that share a person with `start`, or with a pair that does, and so on."""
    people = {start.ct.person, start.mr.person}
    names: set[str] = set()
    while True:
        sharing = [pair for pair in pairs if {pair.ct.person, pair.mr.person} & people]
        if len(sharing) == len(names):
            return names
        names = {pair.name for pair in sharing}
        people |= {subject.person for pair in sharing for subject in (pair.ct, pair.mr)}


def _with_more_mrs(train: Sequence[Pair], mrs_per_ct: int) -> list[Pair]:
    """Pair every training CT with further training MRs of other patients, each MR as often as the others."""
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
