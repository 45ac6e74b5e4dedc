"""Kinds of pairs, and several MRs per training CT: whatever the cohort, nobody is on two sides of the split."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.pairs import (
    Pair,
    Subject,
    circles_of,
    make_pairs,
    make_unlabelled_pairs,
    one_per_ct,
    select,
    subjects_by_role,
    unpaired,
)
from pipeline.cohort.split_file import read_atlas_pairs, write_split
from pipeline.config.sections import CropConfig, SplitConfig
from pipeline.preparation.cropping import choose_atlases

Pairing = Literal["auto", "same_patient", "cross_patient"]
PAIRINGS: tuple[Pairing, ...] = ("auto", "same_patient", "cross_patient")


def scan(modality: Modality, patient: str) -> Subject:
    name = f"{modality.value}_{patient}"
    return Subject(name, modality, Path(f"{name}.nii.gz"), Path(f"{name}_label.nii.gz"), patient)


def cohort(num_both: int, num_ct: int = 0, num_mr: int = 0) -> list[Subject]:
    both = [scan(modality, f"b{i:02d}") for i in range(num_both) for modality in Modality]
    only = [scan(Modality.CT, f"c{i:02d}") for i in range(num_ct)]
    return [*both, *only, *(scan(Modality.MR, f"m{i:02d}") for i in range(num_mr))]


def drawn(seed: int) -> tuple[list[Subject], SplitConfig]:
    """Draw any cohort, shuffled, some patients with roles, and any split of it."""
    random = np.random.default_rng(seed)
    subjects = cohort(*(int(n) for n in random.integers(0, 14, 3)))
    subjects = [subjects[i] for i in random.permutation(len(subjects))]
    folds = int(random.choice([1, 1, 2, 4]))
    if random.random() < 0.3:
        folds = 1
        roles = random.choice(["train", "validation", "test", ""], 99)
        people = sorted({s.person for s in subjects})
        given = {person: str(role) or None for person, role in zip(people, roles, strict=False)}
        subjects = [replace(s, role=given[s.person]) for s in subjects]  # type: ignore[arg-type]
    params = SplitConfig(
        seed=seed, test_fraction=float(random.uniform(0.05, 0.9)),
        validation_fraction=float(random.uniform(0.05, 0.6)), folds=folds, fold=int(random.integers(folds)),
        pairing=PAIRINGS[random.integers(3)], mrs_per_ct=int(random.choice([1, 1, 2, 3])),
    )  # fmt: skip
    return subjects, params


def split_or_none(subjects: list[Subject], params: SplitConfig) -> list[Pair] | None:
    try:
        return make_pairs(subjects, params)
    except DataError:
        return None


@pytest.mark.parametrize("block", range(8))
def test_whatever_the_cohort_no_patient_is_on_two_sides_and_pairs_are_of_the_kind(block: int) -> None:
    num_split = 0
    for seed in range(100 * block, 100 * (block + 1)):
        subjects, params = drawn(seed)
        pairs = split_or_none(subjects, params)
        if pairs is None:
            continue
        num_split += 1
        roles: dict[str, set[str]] = {}
        for pair in pairs:
            for subject in (pair.ct, pair.mr):
                roles.setdefault(subject.person, set()).add(pair.role)
                assert subject.role in (None, pair.role) or pair.role == "validation", seed
        assert all(len(found) == 1 for found in roles.values()), seed
        assert {pair.role for pair in pairs} == {"train", "validation", "test"}, seed
        assert len({pair.name for pair in pairs}) == len(pairs), seed
        if params.pairing == "cross_patient":
            assert not any(pair.is_one_patient for pair in pairs), seed
        if params.pairing == "same_patient":
            assert all(p.is_one_patient for p in pairs if p.role != "train" or params.mrs_per_ct == 1), seed
    assert num_split > 25


@pytest.mark.parametrize("block", range(4))
def test_further_mrs_multiply_the_training_pairs_and_leave_the_others(block: int) -> None:
    for seed in range(100 * block, 100 * (block + 1)):
        subjects, params = drawn(seed)
        one, more = (
            split_or_none(subjects, params.model_copy(update={"mrs_per_ct": count})) for count in (1, 3)
        )
        if one is None or more is None:
            continue
        assert [p for p in more if p.role != "train"] == [p for p in one if p.role != "train"], seed
        assert set(select(one, "train")) <= set(select(more, "train")), seed
        assert set(Counter(pair.ct.name for pair in select(more, "train")).values()) == {3}, seed
        assert subjects_by_role(one, Modality.MR) == subjects_by_role(more, Modality.MR), seed


def test_every_training_mr_is_used_as_often_as_the_others() -> None:
    pairs = make_pairs(cohort(0, 20, 20), SplitConfig(mrs_per_ct=4))
    train = select(pairs, "train")
    assert len(train) == 4 * 13
    assert set(Counter(pair.mr.name for pair in train).values()) == {4}


def test_more_mrs_than_there_are_is_an_error_that_says_how_many_there_are() -> None:
    with pytest.raises(DataError, match=r"split\.mrs_per_ct = 14, but ct_\w+ can be paired with 13 training"):
        make_pairs(cohort(0, 20, 20), SplitConfig(mrs_per_ct=14))
    assert make_pairs(cohort(0, 20, 20), SplitConfig(mrs_per_ct=13))


def test_only_patients_with_both_are_paired_where_that_is_asked_for() -> None:
    subjects = cohort(8, 3, 2)
    pairs = make_pairs(subjects, SplitConfig(pairing="same_patient"))
    assert [pair.name for pair in pairs] == [f"ct_b{i:02d}+mr_b{i:02d}" for i in range(8)]
    assert len(unpaired(subjects, pairs)) == 5


def test_patients_exchange_their_mrs_where_that_is_asked_for() -> None:
    pairs = make_pairs(cohort(9, 2, 2), SplitConfig(pairing="cross_patient"))
    assert {pair.ct.name for pair in pairs} >= {f"ct_b{i:02d}" for i in range(9)}
    assert len({pair.mr.name for pair in pairs}) == 11
    assert all(pair.ct.person.startswith("b") for pair in select(pairs, "test"))


def test_different_people_are_paired_alike_whether_that_is_asked_for_or_not() -> None:
    subjects = cohort(0, 12, 9)
    assert make_pairs(subjects, SplitConfig(pairing="cross_patient")) == make_pairs(subjects, SplitConfig())


def test_circles_are_tested_in_exactly_one_fold_and_pairs_stay() -> None:
    folds = [
        make_pairs(cohort(9), SplitConfig(folds=4, fold=fold, pairing="cross_patient")) for fold in range(4)
    ]
    tested = Counter(pair.ct.name for pairs in folds for pair in select(pairs, "test"))
    assert tested == {f"ct_b{i:02d}": 1 for i in range(9)}
    assert len({tuple(pair.name for pair in pairs) for pairs in folds}) == 1


@pytest.mark.parametrize(
    ("num_both", "pairing", "message"),
    [
        (0, "same_patient", "0 patients with both modalities are 3 too few: a patient with both"),
        (2, "same_patient", "2 patients with both modalities are 1 too few"),
        (5, "cross_patient", "5 patients with both modalities are 1 too few: two patients with both"),
    ],
)
def test_too_few_patients_for_a_kind_of_pairs(num_both: int, pairing: Pairing, message: str) -> None:
    subjects = cohort(num_both, 4 if pairing == "same_patient" else 0, 4 if pairing == "same_patient" else 0)
    with pytest.raises(DataError, match=message):
        make_pairs(subjects, SplitConfig(pairing=pairing))


def test_a_role_with_a_single_patient_cannot_be_crossed() -> None:
    subjects = cohort(7)
    given = [replace(s, role="test" if s.person == "b03" else None) for s in subjects]
    with pytest.raises(DataError, match=r"b03: role test, and split\.pairing = cross_patient"):
        make_pairs(given, SplitConfig(pairing="cross_patient"))


def test_unlabelled_subjects_are_paired_by_the_same_rule() -> None:
    subjects = [replace(subject, label=None) for subject in cohort(2, 1, 1)]
    names = {
        pairing: [pair.name for pair in make_unlabelled_pairs(subjects, SplitConfig(pairing=pairing))]
        for pairing in PAIRINGS
    }
    assert names == {
        "auto": ["ct_b00+mr_b00", "ct_b01+mr_b01", "ct_c00+mr_m00"],
        "same_patient": ["ct_b00+mr_b00", "ct_b01+mr_b01"],
        "cross_patient": ["ct_b00+mr_b01", "ct_b01+mr_b00", "ct_c00+mr_m00"],
    }
    with pytest.raises(DataError, match=r"no two scans make a pair with split\.pairing = same_patient"):
        make_unlabelled_pairs(subjects[4:], SplitConfig(pairing="same_patient"))


@pytest.mark.parametrize(
    ("num", "sizes"), [(0, []), (1, [1]), (2, [2]), (3, [3]), (4, [2, 2]), (7, [2, 2, 3])]
)
def test_circles_hold_two_or_three(num: int, sizes: list[int]) -> None:
    circles = circles_of(range(num))
    assert [len(circle) for circle in circles] == sizes
    assert [item for circle in circles for item in circle] == list(range(num))


def test_an_atlas_is_not_taken_twice_for_being_in_several_pairs(tmp_path: Path) -> None:
    params = SplitConfig(mrs_per_ct=5)
    pairs = make_pairs(cohort(0, 12, 12), params)
    write_split(tmp_path / "split.json", pairs, params)
    by_ct: Callable[[list[str]], list[str]] = lambda names: [name.split("+")[0] for name in names]  # noqa: E731
    train = sorted({pair.ct.name for pair in select(pairs, "train")})
    assert by_ct([pair.name for pair in one_per_ct(select(pairs, "train"))]) == train
    assert by_ct(read_atlas_pairs(tmp_path / "split.json")) == train
    for pair in pairs:
        atlases = by_ct(choose_atlases(pair, pairs, CropConfig(num_atlases=4)))
        assert len(set(atlases)) == 4
        assert pair.ct.name not in atlases
