"""Pairs where patients were scanned in both modalities, and where the cohort gives roles."""

from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.pairs import (
    Pair,
    Role,
    Subject,
    make_pairs,
    make_unlabelled_pairs,
    read_manifest,
    select,
    unpaired,
    write_manifest,
)
from pipeline.config.sections import SplitConfig


def scan(modality: Modality, patient: str, role: Role | None = None, *, labelled: bool = True) -> Subject:
    name = f"{modality.value}_{patient}"
    label = Path(f"{name}_label.nii.gz") if labelled else None
    return Subject(name, modality, Path(f"{name}.nii.gz"), label, patient, role)


def cohort(num_both: int, num_ct: int = 0, num_mr: int = 0) -> list[Subject]:
    """Patients with both modalities, with CT alone and with MR alone."""
    both = [scan(modality, f"b{i:02d}") for i in range(num_both) for modality in Modality]
    only = [scan(Modality.CT, f"c{i:02d}") for i in range(num_ct)]
    return [*both, *only, *(scan(Modality.MR, f"m{i:02d}") for i in range(num_mr))]


def roles_of(pairs: list[Pair]) -> dict[str, set[str]]:
    roles: dict[str, set[str]] = {}
    for pair in pairs:
        for subject in (pair.ct, pair.mr):
            roles.setdefault(subject.person, set()).add(pair.role)
    return roles


SIZES = [
    (3, 0, 0),
    (5, 0, 0),
    (20, 0, 0),
    (1, 2, 2),
    (2, 1, 4),
    (1, 9, 3),
    (8, 5, 0),
    (8, 0, 5),
    (12, 7, 3),
    (7, 3, 30),
]
SPLITS = [
    SplitConfig(seed=seed, test_fraction=test, validation_fraction=validation, folds=folds, fold=folds - 1)
    for seed, test, validation, folds in product((0, 7), (0.05, 0.25, 0.9), (0.1, 0.6), (1, 3))
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("params", SPLITS)
def test_no_patient_has_two_roles_and_every_test_pair_is_one_patient(
    size: tuple[int, int, int], params: SplitConfig
) -> None:
    subjects = cohort(*size)
    try:
        pairs = make_pairs(subjects, params)
    except DataError:
        assert size[0] < params.folds or params.test_fraction == 0.9 or params.validation_fraction == 0.6
        return
    assert all(len(roles) == 1 for roles in roles_of(pairs).values())
    assert {pair.role for pair in pairs} == {"train", "validation", "test"}
    assert all(pair.is_one_patient for pair in select(pairs, "test"))
    assert sum(pair.is_one_patient for pair in pairs) == size[0]
    assert Counter(pair.ct.name for pair in pairs).most_common(1)[0][1] == 1
    left = {s.modality for s in unpaired(subjects, pairs)}
    assert len(left) < 2


def test_twenty_patients_are_split_like_twenty_pairs() -> None:
    pairs = make_pairs(cohort(20), SplitConfig())
    assert Counter(pair.role for pair in pairs) == {"train": 13, "validation": 2, "test": 5}
    assert [pair.name for pair in pairs] == [f"ct_b{i:02d}+mr_b{i:02d}" for i in range(20)]


def test_patients_with_one_modality_train_with_each_other() -> None:
    subjects = cohort(8, 3, 2)
    pairs = make_pairs(subjects, SplitConfig())
    strangers = [pair for pair in pairs if not pair.is_one_patient]
    assert {pair.ct.name for pair in strangers} == {"ct_c00", "ct_c01", "ct_c02"}
    assert {pair.mr.name for pair in strangers} == {"mr_m00", "mr_m01"}
    assert {pair.role for pair in strangers} == {"train"}
    assert unpaired(subjects, pairs) == []


def test_who_cannot_be_paired_is_told() -> None:
    subjects = cohort(8, 2, 0)
    assert [s.name for s in unpaired(subjects, make_pairs(subjects, SplitConfig()))] == ["ct_c00", "ct_c01"]


def test_every_patient_is_tested_in_exactly_one_fold_and_pairs_stay() -> None:
    folds = [make_pairs(cohort(7, 2, 2), SplitConfig(folds=3, fold=fold)) for fold in range(3)]
    tested = Counter(pair.ct.patient for pairs in folds for pair in select(pairs, "test"))
    assert tested == {f"b{i:02d}": 1 for i in range(7)}
    assert len({tuple(pair.name for pair in pairs) for pairs in folds}) == 1


def test_the_split_does_not_depend_on_the_order_but_on_the_seed() -> None:
    subjects = cohort(12, 3, 4)
    assert make_pairs(subjects[::-1], SplitConfig()) == make_pairs(subjects, SplitConfig())
    assert make_pairs(subjects, SplitConfig(seed=1)) != make_pairs(subjects, SplitConfig())


def test_a_cohort_that_tells_no_patients_is_paired_as_ever() -> None:
    """Every patient once: whether names are given or not changes nothing."""
    named = cohort(0, 9, 6)
    bare = [replace(subject, patient="") for subject in named]
    pairs = [[(p.name, p.role) for p in make_pairs(s, SplitConfig(seed=3))] for s in (named, bare)]
    assert pairs[0] == pairs[1]


def given(*roles: tuple[str, Role | None]) -> list[Subject]:
    return [scan(modality, patient, role) for patient, role in roles for modality in Modality]


def test_roles_of_the_cohort_are_kept_and_the_others_train() -> None:
    pairs = make_pairs(
        given(("a", "test"), ("b", "validation"), ("c", "train"), ("d", None), ("e", "test")), SplitConfig()
    )
    assert [(pair.ct.patient, pair.role) for pair in pairs] == [
        ("a", "test"), ("b", "validation"), ("c", "train"), ("d", "train"), ("e", "test"),
    ]  # fmt: skip


def test_without_a_validation_role_training_pairs_are_held_out() -> None:
    pairs = make_pairs(given(("a", "test"), ("b", None), ("c", None), ("d", None)), SplitConfig())
    assert Counter(pair.role for pair in pairs) == {"test": 1, "validation": 1, "train": 2}


def test_roles_of_different_people() -> None:
    subjects = [
        scan(modality, f"{modality.value}{i}", role)
        for modality in Modality
        for i, role in enumerate(("train", "train", "validation", "test"))
    ]
    pairs = make_pairs(subjects, SplitConfig())  # type: ignore[arg-type]
    assert all(len(roles) == 1 for roles in roles_of(pairs).values())
    assert Counter(pair.role for pair in pairs) == {"train": 2, "validation": 1, "test": 1}


BAD: dict[str, tuple[list[Subject], SplitConfig, str]] = {
    "folds": (given(("a", "test"), ("b", None), ("c", None)), SplitConfig(folds=3), "contradicts the roles"),
    "no training": (given(*((n, "test") for n in "abc")), SplitConfig(), "no pair with the role train"),
    "no test": (given(*((n, "train") for n in "abc")), SplitConfig(), "no pair with the role test"),
    "half a test patient": (
        [*given(("a", "test"), ("b", None), ("c", None)), scan(Modality.CT, "d", "test")], SplitConfig(),
        "ct_d: role test, but the same patient's other modality",
    ),
    "test patients of one modality": (
        [*given(("a", "train"), ("b", None)), *(scan(m, f"only_{m}", "test") for m in Modality)], SplitConfig(),
        "ct_only_ct, mr_only_mr: role test",
    ),
    "nobody to validate with": (
        [*given(("a", "test"), ("b", None), ("c", None)), scan(Modality.CT, "d", "validation")], SplitConfig(),
        "ct_d: role validation",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_roles_that_cannot_be_kept(name: str) -> None:
    subjects, params, message = BAD[name]
    with pytest.raises(DataError, match=message):
        make_pairs(subjects, params)


def test_more_folds_than_patients_with_both_are_refused() -> None:
    with pytest.raises(DataError, match=r"split.folds = 6 needs as many subjects, found 5"):
        make_pairs(cohort(5, 9, 9), SplitConfig(folds=6))


def test_without_labels_too_patients_are_paired_with_themselves() -> None:
    subjects = [replace(subject, label=None) for subject in cohort(2, 3, 1)]
    pairs = make_unlabelled_pairs(subjects, SplitConfig())
    assert [pair.name for pair in pairs] == [
        "ct_b00+mr_b00", "ct_b01+mr_b01", "ct_c00+mr_m00", "ct_c01+mr_m00", "ct_c02+mr_m00",
    ]  # fmt: skip


def test_the_manifest_keeps_patients_roles_and_what_is_missing(tmp_path: Path) -> None:
    subjects = [
        Subject(
            "ct_a",
            Modality.CT,
            tmp_path / "a.nii.gz",
            tmp_path / "b.nii.gz",
            "Müller, A.",
            "test",
            ("AO", "PA"),
        ),
        Subject("mr_2", Modality.MR, tmp_path / "c.nii.gz", None, "2"),
    ]
    write_manifest(tmp_path / "manifest.csv", subjects)
    assert read_manifest(tmp_path / "manifest.csv") == subjects


def test_columns_without_a_value_are_left_out(tmp_path: Path) -> None:
    """The manifest of a cohort that tells nothing of patients stays as it was, byte by byte."""
    write_manifest(tmp_path / "manifest.csv", [Subject("ct_1001", Modality.CT, tmp_path / "a.nii.gz", None)])
    assert (tmp_path / "manifest.csv").read_text(
        "utf-8"
    ) == "subject,modality,image,label\nct_1001,ct,a.nii.gz,\n"
