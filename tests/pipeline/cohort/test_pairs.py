from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import Modality
from pipeline.cohort import pairs as module
from pipeline.cohort.pairs import Pair, Role, Subject, make_pairs, make_unlabelled_pairs, select, unpaired
from pipeline.cohort.split_file import read_atlas_pairs, write_split
from pipeline.config.sections import CropConfig, SplitConfig
from pipeline.preparation.cropping import choose_atlases

Pairing = Literal["auto", "same_patient", "cross_patient"]
PAIRINGS: tuple[Pairing, ...] = ("auto", "same_patient", "cross_patient")


def scan(modality: Modality, patient: str, role: Role | None = None) -> Subject:
    name = f"{modality.value}_{patient}"
    return Subject(name, modality, Path(f"{name}.nii.gz"), Path(f"{name}_label.nii.gz"), patient, role)


def cohort(num_both: int, num_ct: int = 0, num_mr: int = 0) -> list[Subject]:
    """Patients with both modalities, with CT alone and with MR alone."""
    both = [scan(modality, f"b{i:02d}") for i in range(num_both) for modality in Modality]
    only = [scan(Modality.CT, f"c{i:02d}") for i in range(num_ct)]
    return [*both, *only, *(scan(Modality.MR, f"m{i:02d}") for i in range(num_mr))]


def given(*roles: tuple[str, Role | None]) -> list[Subject]:
    return [scan(modality, patient, role) for patient, role in roles for modality in Modality]


def names(pairs: list[Pair]) -> list[str]:
    return [pair.name for pair in pairs]


def assert_split_by_patient(pairs: list[Pair]) -> None:
    roles: dict[str, set[str]] = {}
    for pair in pairs:
        for subject in (pair.ct, pair.mr):
            roles.setdefault(subject.person, set()).add(pair.role)
    assert all(len(of_person) == 1 for of_person in roles.values())
    assert {pair.role for pair in pairs} == {"train", "validation", "test"}
    assert len(set(names(pairs))) == len(pairs)


SPLITS = [
    SplitConfig(seed=seed, test_fraction=test, validation_fraction=validation, folds=folds, fold=folds - 1)
    for seed, test, validation, folds in product((0, 7), (0.05, 0.25, 0.9), (0.1, 0.6), (1, 3))
]


STRANGERS = [(3, 3), (4, 9), (5, 5), (9, 4), (20, 20), (20, 7), (31, 40), (29, 3)]
PATIENTS = [
    (3, 0, 0), (5, 0, 0), (20, 0, 0), (1, 2, 2), (2, 1, 4), (1, 9, 3), (8, 5, 0), (8, 0, 5), (12, 7, 3), (7, 3, 30),
]  # fmt: skip


def impossible(size: tuple[int, int, int], params: SplitConfig) -> str:
    if 0 < size[0] < params.folds:
        return rf"split.folds = 3 needs as many subjects, found {size[0]}"
    one_mr_trains = params.test_fraction == 0.9 and params.folds == 1
    if size == (0, 29, 3) and params.validation_fraction == 0.6 and not one_mr_trains:
        return "leave none to train"  # two MRs train and validate, and 60 % of their pairs are pairs of both
    return ""


@pytest.mark.parametrize("size", [*((0, *size) for size in STRANGERS), *PATIENTS])
@pytest.mark.parametrize("params", SPLITS)
def test_patients_are_split_and_tested_alone(size: tuple[int, int, int], params: SplitConfig) -> None:
    subjects = cohort(*size)
    if message := impossible(size, params):
        with pytest.raises(DataError, match=message):
            make_pairs(subjects, params)
        return
    pairs = make_pairs(subjects, params)
    assert_split_by_patient(pairs)
    assert all(pair.is_one_patient or not size[0] for pair in select(pairs, "test"))
    assert sum(pair.is_one_patient for pair in pairs) == size[0]
    assert len({pair.ct.name for pair in pairs}) == len(pairs)
    assert len(pairs) == size[1] or size[0]
    assert len({subject.modality for subject in unpaired(subjects, pairs)}) < 2


def random_split(seed: int) -> tuple[list[Subject], SplitConfig]:
    """Draw a cohort, shuffled, with roles for some, and a split of it."""
    random = np.random.default_rng(seed)
    subjects = cohort(*(int(n) for n in random.integers(0, 14, 3)))
    subjects = [subjects[i] for i in random.permutation(len(subjects))]
    folds = int(random.choice([1, 1, 2, 4]))
    if random.random() < 0.3:
        folds = 1
        roles = random.choice(["train", "validation", "test", ""], 99)
        people = sorted({s.person for s in subjects})
        of_person = {person: str(role) or None for person, role in zip(people, roles, strict=False)}
        subjects = [replace(s, role=of_person[s.person]) for s in subjects]  # type: ignore[arg-type]
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
def test_random_cohorts_are_split_by_patient_with_pairs_of_the_kind(block: int) -> None:
    num_split = 0
    for seed in range(100 * block, 100 * (block + 1)):
        subjects, params = random_split(seed)
        pairs = split_or_none(subjects, params)
        if pairs is None:
            continue
        num_split += 1
        assert_split_by_patient(pairs)
        for subject, role in ((subject, pair.role) for pair in pairs for subject in (pair.ct, pair.mr)):
            assert subject.role in (None, role) or role == "validation", seed
        if params.pairing == "cross_patient":
            assert not any(pair.is_one_patient for pair in pairs), seed
        if params.pairing == "same_patient":
            assert all(p.is_one_patient for p in pairs if p.role != "train" or params.mrs_per_ct == 1), seed
    assert num_split > 25


@pytest.mark.parametrize("block", range(4))
def test_mrs_per_ct_multiplies_training_pairs_alone(block: int) -> None:
    for seed in range(100 * block, 100 * (block + 1)):
        subjects, params = random_split(seed)
        one, more = (split_or_none(subjects, params.model_copy(update={"mrs_per_ct": n})) for n in (1, 3))
        if one is None or more is None:
            continue
        assert [p for p in more if p.role != "train"] == [p for p in one if p.role != "train"], seed
        assert set(select(one, "train")) <= set(select(more, "train")), seed
        assert set(Counter(pair.ct.name for pair in select(more, "train")).values()) == {3}, seed
        assert module.subjects_by_role(one, Modality.MR) == module.subjects_by_role(more, Modality.MR), seed


def test_mrs_per_ct_uses_every_training_mr_equally() -> None:
    train = select(make_pairs(cohort(0, 20, 20), SplitConfig(mrs_per_ct=4)), "train")
    assert len(train) == 4 * 13
    assert set(Counter(pair.mr.name for pair in train).values()) == {4}
    assert make_pairs(cohort(0, 20, 20), SplitConfig(mrs_per_ct=13))
    with pytest.raises(DataError, match=r"split\.mrs_per_ct = 14, but ct_\w+ can be paired with 13 training"):
        make_pairs(cohort(0, 20, 20), SplitConfig(mrs_per_ct=14))


@pytest.mark.parametrize("subjects", [cohort(0, 20, 20), cohort(20)], ids=["strangers", "patients"])
def test_twenty_pairs_are_split_into_13_2_and_5(subjects: list[Subject]) -> None:
    pairs = make_pairs(subjects, SplitConfig())
    assert Counter(pair.role for pair in pairs) == {"train": 13, "validation": 2, "test": 5}
    assert len({pair.mr.name for pair in pairs}) == 20


@pytest.mark.parametrize(
    ("size", "pairing", "tested"),
    [((0, 11, 8), "auto", "c"), ((7, 2, 2), "auto", "b"), ((9, 0, 0), "cross_patient", "b")],
    ids=["strangers", "patients", "circles"],
)
def test_folds_test_everyone_once_with_the_same_pairs(
    size: tuple[int, int, int], pairing: Pairing, tested: str
) -> None:
    configs = [SplitConfig(folds=4, fold=fold, pairing=pairing) for fold in range(4)]
    folds = [make_pairs(cohort(*size), config) for config in configs]
    expected = Counter(f"ct_{tested}{i:02d}" for i in range(size[0] or size[1]))
    assert Counter(pair.ct.name for pairs in folds for pair in select(pairs, "test")) == expected
    assert len({tuple(names(pairs)) for pairs in folds}) == 1


@pytest.mark.parametrize("subjects", [cohort(0, 20, 20), cohort(12, 3, 4)], ids=["strangers", "patients"])
def test_split_depends_on_the_seed_and_not_on_the_order(subjects: list[Subject]) -> None:
    assert make_pairs(subjects[::-1], SplitConfig()) == make_pairs(subjects, SplitConfig())
    assert make_pairs(subjects, SplitConfig(seed=1)) != make_pairs(subjects, SplitConfig())


def test_patient_names_of_strangers_change_nothing() -> None:
    named = cohort(0, 9, 6)
    bare = [replace(subject, patient="") for subject in named]
    first, second = (make_pairs(subjects, SplitConfig(seed=3)) for subjects in (named, bare))
    assert [(pair.name, pair.role) for pair in first] == [(pair.name, pair.role) for pair in second]


def test_patients_with_one_modality_train_with_each_other() -> None:
    subjects = cohort(8, 3, 2)
    pairs = make_pairs(subjects, SplitConfig())
    strangers = [(pair.ct.name, pair.role) for pair in pairs if not pair.is_one_patient]
    assert strangers == [(f"ct_c0{i}", "train") for i in range(3)]
    assert unpaired(subjects, pairs) == []


def test_cross_patient_exchanges_mrs() -> None:
    pairs = make_pairs(cohort(9, 2, 2), SplitConfig(pairing="cross_patient"))
    assert {pair.ct.name for pair in pairs} >= {f"ct_b{i:02d}" for i in range(9)}
    assert len({pair.mr.name for pair in pairs}) == 11
    assert all(pair.ct.person.startswith("b") for pair in select(pairs, "test"))
    strangers = cohort(0, 12, 9)
    assert make_pairs(strangers, SplitConfig(pairing="cross_patient")) == make_pairs(strangers, SplitConfig())


def test_roles_of_the_cohort_are_kept_and_others_train() -> None:
    subjects = given(("a", "test"), ("b", "validation"), ("c", "train"), ("d", None), ("e", "test"))
    found = {pair.ct.patient: pair.role for pair in make_pairs(subjects, SplitConfig())}
    assert found == {"a": "test", "b": "validation", "c": "train", "d": "train", "e": "test"}
    pairs = make_pairs(given(("a", "test"), ("b", None), ("c", None), ("d", None)), SplitConfig())
    assert Counter(pair.role for pair in pairs) == {"test": 1, "validation": 1, "train": 2}


AB = given(("b", None), ("c", None))
IMPOSSIBLE: dict[str, tuple[list[Subject], SplitConfig, str]] = {
    "two MRs": (cohort(0, 20, 2), SplitConfig(), "2 labelled MR subjects: at least 3"),
    "folds of strangers": (cohort(0, 5, 9), SplitConfig(folds=6), r"split.folds = 6 needs as many subjects, found 5"),
    "no patient": (cohort(0, 4, 4), SplitConfig(pairing="same_patient"),
                   "0 patients with both modalities are 3 too few: a patient with both"),
    "two circles": (cohort(5), SplitConfig(pairing="cross_patient"),
                    "5 patients with both modalities are 1 too few: two patients with both"),
    "roles and folds": ([*given(("a", "test")), *AB], SplitConfig(folds=3), "contradicts the roles"),
    "no training": (given(*((n, "test") for n in "abc")), SplitConfig(), "no pair with the role train"),
    "no test": (given(*((n, "train") for n in "abc")), SplitConfig(), "no pair with the role test"),
    "half a test patient": ([*given(("a", "test")), *AB, scan(Modality.CT, "d", "test")], SplitConfig(),
                            "ct_d: role test, but the same patient's other modality"),
    "test patients of one modality": (
        [*given(("a", "train"), ("b", None)), *(scan(m, f"only_{m}", "test") for m in Modality)], SplitConfig(),
        "ct_only_ct, mr_only_mr: role test",
    ),
    "half a validation patient": ([*given(("a", "test")), *AB, scan(Modality.CT, "d", "validation")], SplitConfig(),
                                  "ct_d: role validation"),
    "lone test patient to cross": ([*given(("a", "test")), *AB, *given(("d", None))],
                                   SplitConfig(pairing="cross_patient"), r"a: role test, and split\.pairing = cross"),
}  # fmt: skip


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_splits_are_refused(name: str) -> None:
    subjects, params, message = IMPOSSIBLE[name]
    with pytest.raises(DataError, match=message):
        make_pairs(subjects, params)


def test_unlabelled_subjects_are_paired_by_the_same_rule() -> None:
    subjects = [replace(subject, label=None) for subject in cohort(2, 2, 1)]
    own, crossed = ["ct_b00+mr_b00", "ct_b01+mr_b01"], ["ct_b00+mr_b01", "ct_b01+mr_b00"]
    strangers = ["ct_c00+mr_m00", "ct_c01+mr_m00"]
    expected = {"auto": own + strangers, "same_patient": own, "cross_patient": crossed + strangers}
    for pairing in PAIRINGS:
        pairs = make_unlabelled_pairs(subjects, SplitConfig(pairing=pairing))
        assert names(pairs) == expected[pairing], pairing
    with pytest.raises(DataError, match=r"no two scans make a pair with split\.pairing = same_patient"):
        make_unlabelled_pairs(subjects[4:], SplitConfig(pairing="same_patient"))
    with pytest.raises(DataError, match="4 CT and 0 MR subjects: at least one of each"):
        make_unlabelled_pairs(cohort(0, 4, 0), SplitConfig())


@pytest.mark.parametrize(("modality", "num"), [(Modality.CT, 12), (Modality.MR, 5)])
def test_subjects_by_role_lists_each_subject_once(modality: Modality, num: int) -> None:
    pairs = make_pairs(cohort(0, 12, 5), SplitConfig())
    groups = module.subjects_by_role(pairs, modality)
    for role, subjects in groups.items():
        expected = {getattr(pair, modality.value).name for pair in select(pairs, role)}
        assert [s.name for s in subjects] == sorted(expected)
    assert sum(map(len, groups.values())) == num


def test_atlases_are_different_cts(tmp_path: Path) -> None:
    params = SplitConfig(mrs_per_ct=5)
    pairs = make_pairs(cohort(0, 12, 12), params)
    write_split(tmp_path / "split.json", pairs, params)
    train = sorted({pair.ct.name for pair in select(pairs, "train")})
    assert [pair.ct.name for pair in module.one_per_ct(select(pairs, "train"))] == train
    assert [name.split("+")[0] for name in read_atlas_pairs(tmp_path / "split.json")] == train
    for pair in pairs:
        atlases = {name.split("+")[0] for name in choose_atlases(pair, pairs, CropConfig(num_atlases=4))}
        assert len(atlases) == 4
        assert atlases <= set(train) - {pair.ct.name}
        assert choose_atlases(pair, pairs, CropConfig(roi="labels")) == []


def test_manifest_round_trip(tmp_path: Path) -> None:
    image, label = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    ct = Subject("ct_a", Modality.CT, image, label, "Müller, A.", "test", ("AO", "PA"))
    mr = Subject("mr_2", Modality.MR, tmp_path / "c.nii.gz", None, "2")
    module.write_manifest(tmp_path / "manifest.csv", [mr, ct])
    assert module.read_manifest(tmp_path / "manifest.csv") == [ct, mr]


def test_manifest_leaves_out_empty_columns(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    module.write_manifest(path, [Subject("ct_1001", Modality.CT, tmp_path / "a.nii.gz", None)])
    assert path.read_text("utf-8") == "subject,modality,image,label\nct_1001,ct,a.nii.gz,\n"


def test_missing_manifest_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro download"):
        module.read_manifest(tmp_path / "manifest.csv")
