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
    """A CT and an MR subject of the same role, to be registered: of one patient, or of two.

    `role` is that of both subjects: no pair mixes training and test subjects.
    """

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


def make_pairs(subjects: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair labelled CT with labelled MR subjects, split by patient.

    Where patients have both, these are paired with each other, and they alone test; who has one modality is paired
    with another such patient, to train. Where nobody has both, the subjects of each modality are shuffled by
    `params.seed` and divided into test, validation and training groups; every CT is paired with an MR of its own
    group (MRs are taken in turn where there are fewer). With `folds` > 1 the groups of all folds are laid out once,
    so the pairs, and their registrations, are those of every fold. Roles that the cohort gives are kept; patients
    without one train.

    With `pairing: same_patient` nobody is paired with another person. With `cross_patient` patients with both
    modalities exchange their MRs by twos and threes; all of such a circle have one role. With `mrs_per_ct` > 1 every
    training CT is paired with so many training MRs; that comes last and changes no other pair.

    Returns:
        Pairs ordered by name; no CT twice but where `mrs_per_ct` > 1 among those that train.

    Raises:
        DataError: too few labelled subjects for one training, one validation and one test pair, or roles that leave
            a role without a pair or contradict `folds`.
    """
    labelled = [subject for modality in Modality for subject in _labelled(subjects, modality)]
    if any(subject.role for subject in labelled):
        pairs = _pair_by_role(labelled, params)
    elif _own_pairs(labelled, "train")[0] or params.pairing == "same_patient":
        pairs = _pair_patients(labelled, params)
    else:
        pairs = _pair_strangers(labelled, params)
    if not any(pair.role == "validation" for pair in pairs):
        pairs = _hold_out(pairs, params.validation_fraction)
    return sorted(_with_more_mrs(pairs, params), key=lambda pair: pair.name)


def make_unlabelled_pairs(subjects: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair CT with MR subjects for training without labels; whether they have any is not looked at.

    A patient's own CT and MR are paired. The other subjects of each modality are shuffled by `params.seed` and paired
    in that order; MRs are taken in turn where there are fewer. `pairing` is as for labelled subjects; `mrs_per_ct` is
    not looked at.

    Returns:
        Training pairs ordered by name, no CT twice.

    Raises:
        DataError: no CT or no MR, or no pair of the kind that `pairing` wants.
    """
    num_ct, num_mr = (sum(s.modality is modality for s in subjects) for modality in Modality)
    if not num_ct or not num_mr:
        raise DataError(f"{num_ct} CT and {num_mr} MR subjects: at least one of each is needed for a pair")
    own, others = _own_pairs(subjects, "train")
    strangers = _strangers(others, "train", params)
    if not (pairs := [*_partnered(own, params), *strangers]):
        raise DataError(f"no two scans make a pair with split.pairing = {params.pairing}")
    return sorted(pairs, key=lambda pair: pair.name)


def unpaired(subjects: list[Subject], pairs: list[Pair]) -> list[Subject]:
    """The labelled subjects that no pair holds, ordered by name."""
    held = {subject.name for pair in pairs for subject in (pair.ct, pair.mr)}
    return sorted((s for s in subjects if s.label and s.name not in held), key=lambda s: s.name)


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


def one_per_ct(pairs: list[Pair]) -> list[Pair]:
    """The first pair of each CT, ordered by name: what looks at CTs alone wants none twice."""
    first: dict[str, Pair] = {}
    for pair in sorted(pairs, key=lambda pair: pair.name):
        first.setdefault(pair.ct.name, pair)
    return list(first.values())


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


def _pair_strangers(labelled: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair people of whom nobody was scanned twice."""
    ct, mr = (_shuffled([s for s in labelled if s.modality is m], m, params.seed) for m in Modality)
    ct_groups, mr_groups = (_groups(group, params) for group in (ct, mr))
    pairs: list[Pair] = []
    for index, (cts, mrs) in enumerate(zip(ct_groups, mr_groups, strict=True)):
        role: Role = "test" if index == params.fold else "train"
        pairs += [Pair(subject, mrs[i % len(mrs)], role) for i, subject in enumerate(cts)]
    return pairs


def _pair_patients(labelled: list[Subject], params: SplitConfig) -> list[Pair]:
    """Pair patients with themselves, and to train the others among each other.

    The others come first, so that validation pairs, the last to train, are of one patient where that is possible.
    """
    own, others = _own_pairs(labelled, "train")
    strangers = _strangers(others, "train", params)
    order = np.random.default_rng([params.seed, len(Modality)]).permutation(len(own))
    # What stays together when roles are given: a patient, or those who exchange their MRs.
    units = [swap_partners(c) for c in _circles([own[i] for i in order], params)]
    if (few := len(units) + min(2, len(strangers))) < 3 or not units:
        each = "a patient" if params.pairing != "cross_patient" else "two patients"
        raise DataError(
            f"split.pairing = {params.pairing}: {len(own)} patients with both modalities are {3 - few} too few: "
            f"{each} with both is needed to test, to validate and to train"
        )
    tested: list[Pair] = []
    for index, group in enumerate(_groups(units, params, num_others=len(strangers))):
        role: Role = "test" if index == params.fold else "train"
        tested += [replace(pair, role=role) for unit in group for pair in unit]
    return [*strangers, *tested]


def _circles(own: list[Pair], params: SplitConfig) -> list[list[Pair]]:
    """Cut patients with both modalities into those who exchange their MRs: nobody but for `cross_patient`."""
    if params.pairing != "cross_patient":
        return [[pair] for pair in own]
    return [circle for circle in circles_of(own) if len(circle) > 1]


def _partnered(own: list[Pair], params: SplitConfig) -> list[Pair]:
    """Pair patients with both modalities with themselves or, for `cross_patient`, with each other."""
    return [pair for circle in _circles(own, params) for pair in swap_partners(circle)]


def _strangers(others: list[Subject], role: Role, params: SplitConfig) -> list[Pair]:
    """Pair people of one modality each; none for `same_patient`."""
    return [] if params.pairing == "same_patient" else _in_turn(others, role, params.seed)


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
    for role in get_args(Role):
        own, others = _own_pairs([s for s in labelled if given.get(s.person, "train") == role], role)
        strangers = _strangers(others, role, params)
        exchanged = _partnered(own, params)
        if role != "train" and own and not exchanged:
            raise DataError(
                f"{own[0].ct.person}: role {role}, and split.pairing = {params.pairing} needs a second patient "
                "with both modalities in that role; add one, or take the role away"
            )
        if role != "train" and others and (not strangers or (role == "test" and has_own)):
            lone = ", ".join(sorted(subject.name for subject in others))
            what = "but the same patient's other modality has no label map or is lacking"
            raise DataError(f"{lone}: role {role}, {what}; add it, or take the role away")
        pairs += [*strangers, *exchanged]
    if absent := sorted({"train", "test"} - {pair.role for pair in pairs}):
        raise DataError(f"the roles that the cohort gives leave no pair with the role {', '.join(absent)}")
    return pairs


def _scans(subjects: list[Subject]) -> dict[str, dict[Modality, Subject]]:
    """Scans by person and modality, people ordered by name."""
    found: dict[str, dict[Modality, Subject]] = {}
    for subject in sorted(subjects, key=lambda subject: (subject.person, subject.name)):
        found.setdefault(subject.person, {})[subject.modality] = subject
    return found


def _own_pairs(subjects: list[Subject], role: Role) -> tuple[list[Pair], list[Subject]]:
    """Pair the scans of everyone who has both modalities, ordered by patient; give the other subjects too."""
    people = _scans(subjects).values()
    own = [Pair(scans[Modality.CT], scans[Modality.MR], role) for scans in people if len(scans) > 1]
    return own, [subject for scans in people if len(scans) == 1 for subject in scans.values()]


def _in_turn(subjects: list[Subject], role: Role, seed: int) -> list[Pair]:
    """Pair each CT with an MR of another person, MRs in turn where there are fewer; none where one side is empty."""
    ct, mr = (_shuffled([s for s in subjects if s.modality is m], m, seed) for m in Modality)
    return [Pair(subject, mr[i % len(mr)], role) for i, subject in enumerate(ct)] if mr else []


def _groups(items: list[T], params: SplitConfig, num_others: int = 0) -> list[list[T]]:
    """Divide into the group that tests and the one that does not, or into folds.

    Args:
        items: shuffled.
        params: `folds` and `test_fraction`.
        num_others: number of pairs that train beside those of the items; together two at least must not test.
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
            held |= connected(train, last)
    if len(held) >= len(train):
        raise DataError(
            f"{len(train)} training pairs leave none to train after validation pairs are held out"
        )
    return [replace(p, role="validation") if p.name in held else p for p in pairs]


def _with_more_mrs(pairs: list[Pair], params: SplitConfig) -> list[Pair]:
    if params.mrs_per_ct == 1:
        return pairs
    others = [pair for pair in pairs if pair.role != "train"]
    train = sorted(select(pairs, "train"), key=lambda pair: pair.name)
    try:
        return [*others, *with_more_mrs(train, params.mrs_per_ct)]
    except ValueError as error:
        raise DataError(str(error)) from error


def circles_of(items: Sequence[T]) -> list[list[T]]:
    """Cut a sequence into groups of two, the last of three where the number is odd; a lone item is a group of one.

    >>> circles_of("abcde")
    [['a', 'b'], ['c', 'd', 'e']]
    """
    starts = list(range(0, max(1, len(items) - 1), 2))
    ends = [*starts[1:], len(items)]
    return [list(items[start:end]) for start, end in zip(starts, ends, strict=True) if start < end]


def swap_partners(circle: Sequence["Pair"]) -> list["Pair"]:
    """Give each CT of a circle of patients the MR of the next one: nobody's CT meets that patient's own MR."""
    following = [*circle[1:], *circle[:1]]
    return [replace(pair, mr=other.mr) for pair, other in zip(circle, following, strict=True)]


def connected(pairs: Sequence["Pair"], start: "Pair") -> set[str]:
    """Name the pairs that share a person with `start`, or with a pair that does, and so on."""
    people = {start.ct.person, start.mr.person}
    names: set[str] = set()
    while True:
        found = [pair for pair in pairs if {pair.ct.person, pair.mr.person} & people]
        if len(found) == len(names):
            return names
        names = {pair.name for pair in found}
        people |= {subject.person for pair in found for subject in (pair.ct, pair.mr)}


def with_more_mrs(train: Sequence["Pair"], mrs_per_ct: int) -> list["Pair"]:
    """Pair every training CT with further MRs of other patients that train, each MR as often as the others.

    Args:
        train: training pairs, no CT twice.
        mrs_per_ct: MRs of each CT, that of its pair included.

    Returns:
        The pairs, each followed by its further ones.

    Raises:
        ValueError: there are not so many training MRs of other patients.
    """
    mrs = list({pair.mr.name: pair.mr for pair in train}.values())
    places = {mr.name: place for place, mr in enumerate(mrs)}
    found: list[Pair] = []
    for pair in train:
        start = places[pair.mr.name]
        others = [
            mr
            for mr in (*mrs[start + 1 :], *mrs[:start])
            if mr.person not in (pair.ct.person, pair.mr.person)
        ]
        if len(others) < mrs_per_ct - 1:
            raise ValueError(
                f"split.mrs_per_ct = {mrs_per_ct}, but {pair.ct.name} can be paired with {1 + len(others)} "
                f"training MRs: set it to {1 + len(others)} or less"
            )
        found += [pair, *(replace(pair, mr=mr) for mr in others[: mrs_per_ct - 1])]
    return found
