from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.pairs import (
    Subject,
    make_pairs,
    make_unlabelled_pairs,
    read_manifest,
    select,
    subjects_by_role,
    write_manifest,
)
from pipeline.config.sections import SplitConfig


def _cohort(num_ct: int, num_mr: int, unlabelled: int = 2) -> list[Subject]:
    def subject(modality: Modality, number: int, labelled: bool) -> Subject:
        name = f"{modality.value}_{number}"
        return Subject(
            name, modality, Path(f"{name}.nii.gz"), Path(f"{name}_label.nii.gz") if labelled else None
        )

    return [
        subject(modality, (1001 if labelled else 2001) + i, labelled)
        for modality, number in ((Modality.CT, num_ct), (Modality.MR, num_mr))
        for labelled, count in ((True, number), (False, unlabelled))
        for i in range(count)
    ]


SIZES = [(3, 3), (4, 9), (5, 5), (9, 4), (20, 20), (20, 7), (31, 40), (29, 3)]
SPLITS = [
    SplitConfig(seed=seed, test_fraction=test, validation_fraction=validation, folds=folds, fold=folds - 1)
    for seed, test, validation, folds in product((0, 7), (0.05, 0.25, 0.9), (0.1, 0.6), (1, 3))
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("params", SPLITS)
def test_no_subject_of_either_modality_has_two_roles(size: tuple[int, int], params: SplitConfig) -> None:
    try:
        pairs = make_pairs(_cohort(*size), params)
    except DataError:
        assert min(size) < 5 or params.test_fraction == 0.9 or params.validation_fraction == 0.6
        return
    roles: dict[str, set[str]] = {}
    for pair in pairs:
        for subject in (pair.ct, pair.mr):
            roles.setdefault(subject.name, set()).add(pair.role)
    assert all(len(found) == 1 for found in roles.values())
    assert {"train", "validation", "test"} == {pair.role for pair in pairs}
    assert sorted(pair.ct.name for pair in pairs) == [f"ct_{1001 + i}" for i in range(size[0])]
    assert all(subject.label for pair in pairs for subject in (pair.ct, pair.mr))


def test_twenty_subjects_give_fifteen_pairs_to_train_and_five_to_test() -> None:
    pairs = make_pairs(_cohort(20, 20), SplitConfig())
    assert Counter(pair.role for pair in pairs) == {"train": 13, "validation": 2, "test": 5}
    assert len({pair.mr.name for pair in pairs}) == 20


def test_a_few_mrs_shared_by_many_cts_still_leave_pairs_to_train() -> None:
    pairs = make_pairs(_cohort(30, 4), SplitConfig())  # 22 pairs of 3 MRs train and validate
    assert Counter(pair.role for pair in pairs)["train"] >= 14
    assert len({pair.mr.name for pair in select(pairs, "validation")}) == 1


def test_every_ct_is_tested_in_exactly_one_fold_and_pairs_stay() -> None:
    folds = [make_pairs(_cohort(11, 8), SplitConfig(folds=4, fold=fold)) for fold in range(4)]
    tested = Counter(pair.ct.name for pairs in folds for pair in select(pairs, "test"))
    assert tested == {f"ct_{1001 + i}": 1 for i in range(11)}
    assert len({tuple(pair.name for pair in pairs) for pairs in folds}) == 1


def test_the_split_does_not_depend_on_the_order_of_the_manifest_but_on_the_seed() -> None:
    cohort = _cohort(20, 20)
    assert make_pairs(cohort[::-1], SplitConfig()) == make_pairs(cohort, SplitConfig())
    assert make_pairs(cohort, SplitConfig(seed=1)) != make_pairs(cohort, SplitConfig())


def test_two_labelled_subjects_are_too_few() -> None:
    with pytest.raises(DataError, match="2 labelled MR subjects: at least 3"):
        make_pairs(_cohort(20, 2), SplitConfig())


def test_more_folds_than_subjects_are_refused() -> None:
    with pytest.raises(DataError, match=r"split.folds = 6 needs as many subjects, found 5"):
        make_pairs(_cohort(5, 9), SplitConfig(folds=6))


def test_the_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    cohort = [
        Subject("ct_1001", Modality.CT, tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"),
        Subject("mr_2001", Modality.MR, tmp_path / "c.nii.gz", None),
    ]
    write_manifest(tmp_path / "manifest.csv", cohort[::-1])
    assert read_manifest(tmp_path / "manifest.csv") == cohort


def test_without_a_manifest_the_download_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro download"):
        read_manifest(tmp_path / "manifest.csv")


@pytest.mark.parametrize(("num_ct", "num_mr"), [(1, 1), (5, 5), (7, 3), (2, 9)])
def test_unlabelled_subjects_train_each_ct_once(num_ct: int, num_mr: int) -> None:
    subjects = [subject for subject in _cohort(0, 0, 9) if subject.label is None]
    chosen = [s for s in subjects if int(s.name[-1]) < {"ct": num_ct, "mr": num_mr}[s.modality.value] + 1]
    pairs = make_unlabelled_pairs(chosen, SplitConfig())
    counts = {modality: sum(s.modality is modality for s in chosen) for modality in Modality}
    assert {pair.role for pair in pairs} == {"train"}
    assert [p.ct.name for p in pairs] == sorted(s.name for s in chosen if s.modality is Modality.CT)
    assert len({pair.mr.name for pair in pairs}) == min(counts.values())


def test_pairs_without_labels_do_not_depend_on_the_order_or_on_labels() -> None:
    subjects = _cohort(4, 4)
    bare = [Subject(s.name, s.modality, s.image, None) for s in reversed(subjects)]
    names = [[pair.name for pair in make_unlabelled_pairs(s, SplitConfig(seed=3))] for s in (subjects, bare)]
    assert names[0] == names[1]
    assert names[0] != [pair.name for pair in make_unlabelled_pairs(subjects, SplitConfig(seed=4))]


def test_one_modality_alone_has_no_pairs() -> None:
    only = [subject for subject in _cohort(2, 2) if subject.modality is Modality.CT]
    with pytest.raises(DataError, match="4 CT and 0 MR subjects: at least one of each"):
        make_unlabelled_pairs(only, SplitConfig())


@pytest.mark.parametrize("modality", list(Modality))
def test_each_subject_has_the_role_of_its_pairs_once(modality: Modality) -> None:
    pairs = make_pairs(_cohort(12, 5), SplitConfig())
    found = subjects_by_role(pairs, modality)
    for role, subjects in found.items():
        expected = {(p.ct if modality is Modality.CT else p.mr).name for p in select(pairs, role)}
        assert [s.name for s in subjects] == sorted(expected)
    assert sum(map(len, found.values())) == {Modality.CT: 12, Modality.MR: 5}[modality]
