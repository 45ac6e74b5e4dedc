"""The cohort on disk: names, codes, the stray 421, the same bytes."""

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.cohort.cohort import gather_cohort, make_phantom_cohort
from pipeline.cohort.pairs import make_pairs
from pipeline.config.sections import DataConfig, PhantomConfig, SplitConfig

PARAMS = PhantomConfig(num_labelled=3, num_unlabelled=1, ct_spacing_mm=6.0, mr_spacing_mm=5.0)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    make_phantom_cohort(folder, PARAMS)
    return folder


def test_names_are_those_of_mmwhs(cohort):
    expected = {
        f"{m}_train_100{i}_{kind}.nii.gz"
        for m in ("ct", "mr")
        for i in (1, 2, 3)
        for kind in ("image", "label")
    }
    assert {p.name for p in cohort.iterdir()} == expected | {
        "ct_test_2001_image.nii.gz",
        "mr_test_2001_image.nii.gz",
    }


def test_codes_are_those_of_mmwhs_and_one_mr_has_a_stray(cohort):
    with_stray = []
    for path in cohort.glob("*_label.nii.gz"):
        codes = set(np.unique(np.asanyarray(nib.load(path).dataobj)).tolist())
        assert codes >= {0, 205, 420, 500, 550, 600, 820, 850}
        assert codes <= {0, 205, 420, 421, 500, 550, 600, 820, 850}
        with_stray += [path.name] * (421 in codes)
    assert len(with_stray) == 1
    assert with_stray[0].startswith("mr_")


def test_image_and_label_share_their_grid(cohort):
    for path in cohort.glob("*_label.nii.gz"):
        label, image = nib.load(path), nib.load(path.with_name(path.name.replace("label", "image")))
        assert label.shape == image.shape
        np.testing.assert_array_equal(label.affine, image.affine)


@pytest.mark.slow
def test_same_bytes_on_every_run_and_others_with_another_seed(cohort, tmp_path):
    make_phantom_cohort(tmp_path / "again", PARAMS)
    assert digests(tmp_path / "again") == digests(cohort)
    make_phantom_cohort(tmp_path / "other", PARAMS.model_copy(update={"seed": 1}))
    assert not set(digests(tmp_path / "other").values()) & set(digests(cohort).values())


def test_all_are_different_people(cohort):
    contents = digests(cohort)
    assert len(set(contents.values())) == len(contents)


@pytest.mark.slow
def test_the_same_patients_are_told_and_have_one_heart(tmp_path: Path) -> None:
    small = {"num_labelled": 3, "num_unlabelled": 1, "ct_spacing_mm": 6.0, "mr_spacing_mm": 6.0}
    found = gather_cohort(tmp_path / "raw", DataConfig(phantom=PhantomConfig(**small, same_patients=True)))
    assert sorted(subject.patient for subject in found) == sorted(["1001", "1002", "1003", "2001"] * 2)
    pairs = make_pairs(found, SplitConfig())
    assert [pair.name for pair in pairs] == [f"ct_{n}+mr_{n}" for n in (1001, 1002, 1003)]
    other = gather_cohort(tmp_path / "other", DataConfig(phantom=PhantomConfig(**small)))
    same = {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()}
    default = {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    assert {subject.patient for subject in other} == {""}
    assert {name for name in same if same[name] == default[name]} == {
        name for name in same if name[:2] == "ct"
    }
