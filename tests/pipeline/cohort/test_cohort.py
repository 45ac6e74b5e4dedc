from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.imaging.geometry import is_sheared
from crossmodalnet.imaging.nifti import read_image, read_label_map
from pipeline.cohort.cohort import gather_cohort, make_phantom_cohort
from pipeline.cohort.pairs import make_pairs
from pipeline.config.sections import DataConfig, PhantomConfig, SplitConfig
from tests.pipeline.cohort.conftest import AFFINE, CODES

PARAMS = PhantomConfig(num_labelled=3, num_unlabelled=1, ct_spacing_mm=6.0, mr_spacing_mm=5.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    make_phantom_cohort(folder, PARAMS)
    return folder


def test_phantom_has_names_of_mmwhs(phantom):
    labelled = product(("ct", "mr"), (1001, 1002, 1003), ("image", "label"))
    expected = {f"{modality}_train_{number}_{kind}.nii.gz" for modality, number, kind in labelled}
    expected |= {"ct_test_2001_image.nii.gz", "mr_test_2001_image.nii.gz"}
    assert {p.name for p in phantom.iterdir()} == expected


def test_phantom_has_codes_of_mmwhs_and_one_stray(phantom):
    with_stray = []
    for path in phantom.glob("*_label.nii.gz"):
        codes = set(np.unique(np.asanyarray(nib.load(path).dataobj)).tolist())
        assert codes - {421} == {0, 205, 420, 500, 550, 600, 820, 850}
        with_stray += [path.name] * (421 in codes)
    assert len(with_stray) == 1
    assert with_stray[0].startswith("mr_")


@pytest.mark.slow
def test_phantom_is_the_same_bytes_for_one_seed(phantom, tmp_path):
    make_phantom_cohort(tmp_path / "again", PARAMS)
    assert contents(tmp_path / "again") == contents(phantom)
    make_phantom_cohort(tmp_path / "other", PARAMS.model_copy(update={"seed": 1}))
    assert not set(contents(tmp_path / "other").values()) & set(contents(phantom).values())


@pytest.mark.slow
def test_same_patients_have_one_heart_and_one_name(tmp_path: Path) -> None:
    same_patients = PARAMS.model_copy(update={"same_patients": True})
    found = gather_cohort(tmp_path / "raw", DataConfig(phantom=same_patients))
    assert sorted(subject.patient for subject in found) == sorted(["1001", "1002", "1003", "2001"] * 2)
    pairs = make_pairs(found, SplitConfig())
    assert [pair.name for pair in pairs] == [f"ct_{n}+mr_{n}" for n in (1001, 1002, 1003)]
    other = gather_cohort(tmp_path / "other", DataConfig(phantom=PARAMS))
    assert {subject.patient for subject in other} == {""}
    same, default = contents(tmp_path / "raw"), contents(tmp_path / "other")
    unchanged = {name for name in same if same[name] == default[name]}
    assert unchanged == {name for name in same if name.startswith("ct")}


def test_label_map_within_the_tolerance_is_put_on_its_images_grid(cohort: Path, tmp_path: Path) -> None:
    path, raw = next(cohort.rglob("ct_train_1001_label.nii.gz")), tmp_path / "raw"
    moved = AFFINE + np.outer([0, 1, 0, 0], [0, 0, 0, 0.08])  # of 0.9 mm, the smallest spacing
    nib.save(nib.Nifti1Image(CODES + 3e-5, moved), path)
    before = {file.name: file.read_bytes() for file in cohort.rglob("*.nii.gz")}
    gather_cohort(raw, DataConfig(source="mmwhs", path=str(cohort)))
    image, labels = read_image(raw / "ct_train_1001_image.nii.gz"), read_label_map(raw / path.name)
    assert np.array_equal(image.affine, labels.affine)
    assert np.array_equal(np.asarray(nib.load(raw / path.name).dataobj), CODES)
    changed = {name for name, content in before.items() if (raw / name).read_bytes() != content}
    assert changed == {path.name, "ct_train_1001_image.nii.gz"}


@pytest.mark.parametrize("degrees", [5.0, 15.0])
def test_sheared_scan_and_label_map_are_straightened(cohort: Path, tmp_path: Path, degrees: float) -> None:
    tilted = AFFINE + np.outer([0, 1, 0, 0], [0, 0, 2 * np.tan(np.deg2rad(degrees)), 0])
    for path in cohort.rglob("mr_train_1002_*.nii.gz"):
        nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), tilted), path)
    gather_cohort(tmp_path / "raw", DataConfig(source="mmwhs", path=str(cohort)))
    image, labels = (tmp_path / f"raw/mr_train_1002_{kind}.nii.gz" for kind in ("image", "label"))
    assert not is_sheared(read_image(image).grid)
    assert read_image(image).grid.largest_shift_mm(read_label_map(labels).grid) <= 1e-6
