import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.imaging.geometry import is_sheared
from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.io.outputs import file_digest
from pipeline.cohort.cohort import gather_cohort, make_phantom_cohort
from pipeline.cohort.pairs import make_pairs
from pipeline.config.sections import DataConfig, PhantomConfig, SplitConfig

PARAMS = PhantomConfig(num_labelled=3, num_unlabelled=1, ct_spacing_mm=6.0, mr_spacing_mm=5.0)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    make_phantom_cohort(folder, PARAMS)
    return folder


def test_phantom_has_names_of_mmwhs(phantom):
    expected = {
        f"{m}_train_100{i}_{kind}.nii.gz"
        for m in ("ct", "mr")
        for i in (1, 2, 3)
        for kind in ("image", "label")
    }
    assert {p.name for p in phantom.iterdir()} == expected | {
        "ct_test_2001_image.nii.gz",
        "mr_test_2001_image.nii.gz",
    }


def test_phantom_has_codes_of_mmwhs_and_one_stray(phantom):
    with_stray = []
    for path in phantom.glob("*_label.nii.gz"):
        codes = set(np.unique(np.asanyarray(nib.load(path).dataobj)).tolist())
        assert codes >= {0, 205, 420, 500, 550, 600, 820, 850}
        assert codes <= {0, 205, 420, 421, 500, 550, 600, 820, 850}
        with_stray += [path.name] * (421 in codes)
    assert len(with_stray) == 1
    assert with_stray[0].startswith("mr_")


@pytest.mark.slow
def test_phantom_is_the_same_bytes_for_one_seed(phantom, tmp_path):
    make_phantom_cohort(tmp_path / "again", PARAMS)
    assert digests(tmp_path / "again") == digests(phantom)
    make_phantom_cohort(tmp_path / "other", PARAMS.model_copy(update={"seed": 1}))
    assert not set(digests(tmp_path / "other").values()) & set(digests(phantom).values())


@pytest.mark.slow
def test_same_patients_have_one_heart_and_one_name(tmp_path: Path) -> None:
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


def gathered(cohort: Path, target: Path) -> Path:
    gather_cohort(target, DataConfig(source="mmwhs", path=str(cohort)))
    return target


def test_label_map_within_the_tolerance_is_put_on_its_images_grid(cohort: Path, tmp_path: Path) -> None:
    path = next(cohort.rglob("ct_train_1001_label.nii.gz"))
    label = nib.load(path)
    moved = label.affine.copy()
    moved[1, 3] += 0.08  # of 0.9 mm, the smallest spacing
    drawn = np.asarray(label.dataobj).copy()
    codes = drawn.astype(np.float64) + 3e-5
    nib.save(nib.Nifti1Image(codes, moved), path)
    before = {file.name: file_digest(file) for file in cohort.rglob("*.nii.gz")}
    raw = gathered(cohort, tmp_path / "raw")
    image, labels = read_image(raw / "ct_train_1001_image.nii.gz"), read_label_map(raw / path.name)
    assert np.array_equal(image.affine, labels.affine)
    assert np.array_equal(np.asarray(nib.load(raw / path.name).dataobj), drawn)
    # All others keep their bytes.
    changed = {name for name, digest in before.items() if file_digest(raw / name) != digest}
    assert changed == {path.name, "ct_train_1001_image.nii.gz"}


@pytest.mark.parametrize("degrees", [5.0, 15.0])
def test_sheared_scan_and_label_map_are_straightened(cohort: Path, tmp_path: Path, degrees: float) -> None:
    for kind in ("image", "label"):
        path = next(cohort.rglob(f"mr_train_1002_{kind}.nii.gz"))
        volume = nib.load(path)
        tilted = volume.affine.copy()
        tilted[1, 2] = np.tan(np.deg2rad(degrees)) * 2.0
        nib.save(nib.Nifti1Image(np.asarray(volume.dataobj), tilted), path)
    raw = gathered(cohort, tmp_path / "raw")
    image, labels = (raw / f"mr_train_1002_{kind}.nii.gz" for kind in ("image", "label"))
    assert not is_sheared(read_image(image).grid)
    assert read_image(image).grid.largest_shift_mm(read_label_map(labels).grid) <= 1e-6
