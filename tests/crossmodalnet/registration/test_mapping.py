from pathlib import Path

import numpy as np
import pytest
import torch
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.registration.ants import Transform, warp, write_affine, write_field
from crossmodalnet.registration.diffeomorphic import Lattice
from crossmodalnet.registration.mapping import map_image, map_labels, read_mapping

TURN = Rotation.from_euler("xyz", [10, -7, 15], degrees=True).as_matrix()
LATTICE = Lattice(np.array([-40.0, -40, -40]), (21, 21, 21), 4.0)


@pytest.fixture
def transform(tmp_path: Path) -> Transform:
    """A bump of 6 mm, then a turn and a shift."""
    write_affine(from_matvec(TURN * 1.05, (3, -4, 2)), tmp_path / "affine.mat")
    bump = torch.exp(-((LATTICE.indices() - 10) ** 2).sum(dim=0) / 18)
    vectors_mm = torch.stack([6 * bump, -4 * bump, 3 * bump], dim=-1).numpy()
    write_field(tmp_path / "warp.nii.gz", vectors_mm, LATTICE.grid.affine)
    return Transform(tmp_path / "affine.mat", tmp_path / "warp.nii.gz")


def _blocks() -> Volume:
    """Two blocks in an oblique grid."""
    labels = np.zeros((30, 28, 26), np.uint8)
    labels[8:16, 9:20, 8:18] = 1
    labels[16:24, 9:20, 8:18] = 4
    return Volume(labels, from_matvec(TURN.T * 2.5, -TURN.T * 2.5 @ (14.5, 13.5, 12.5)))


GRID = Grid((50, 46, 44), np.array([[0, 0, 1.5, -33], [1.5, 0, 0, -36], [0, -1.5, 0, 34], [0, 0, 0, 1.0]]))
# Three and two voxels to half a step of the field, along axes that are not the world's.
FINE = Grid((105, 100, 73), from_matvec(TURN * (0.6, 0.6, 0.9), -TURN * (0.6, 0.6, 0.9) @ (52, 49.5, 36)))


@pytest.mark.parametrize(("grid", "largest"), [(GRID, 0.02), (FINE, 0.2)], ids=["coarse", "fine"])
def test_images_come_as_by_ants(transform: Transform, grid: Grid, largest: float) -> None:
    labels = _blocks()
    image = Volume(np.random.default_rng(0).normal(size=labels.data.shape).astype(np.float32), labels.affine)
    ours = map_image(image, grid, read_mapping(transform), fill=-9.0).data
    ants = warp(image, grid, transform.files, "linear", fill=-9.0).data
    both = (ours != -9) & (ants != -9)
    assert both.mean() > 0.4
    # Of white noise of standard deviation 1: a tenth is a few hundredths of a voxel.
    np.testing.assert_allclose(ours[both], ants[both], atol=largest)
    assert np.abs(ours - ants)[both].mean() < 0.002
    assert ((ours == -9) != (ants == -9)).mean() < 0.03  # half a voxel at the border


def test_an_image_of_one_slice_is_seen_in_its_slice(tmp_path: Path) -> None:
    write_affine(np.eye(4), tmp_path / "affine.mat")
    write_field(tmp_path / "warp.nii.gz", np.zeros((21, 21, 21, 3)), LATTICE.grid.affine)
    mapping = read_mapping(Transform(tmp_path / "affine.mat", tmp_path / "warp.nii.gz"))
    slice_ = Volume(np.full((8, 8, 1), 5.0, np.float32), np.eye(4))
    found = map_image(slice_, Grid((8, 8, 3), np.eye(4)), mapping, fill=-1.0).data
    np.testing.assert_allclose(found[:, :, 0], 5, rtol=1e-6)
    assert (found[:, :, 1:] == -1).all()


def test_labels_come_as_by_ants(transform: Transform) -> None:
    ours = map_labels(_blocks(), GRID, read_mapping(transform))
    ants = warp(_blocks(), GRID, transform.files, "nearest")
    assert ours.data.dtype == np.uint8
    for index in (1, 4):
        a, b = ours.data == index, ants.data == index
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.98


def test_no_label_is_no_label(transform: Transform) -> None:
    empty = Volume(np.zeros((9, 9, 9), np.uint8), np.eye(4))
    assert not map_labels(empty, GRID, read_mapping(transform)).data.any()


def test_an_affine_transform_has_no_field(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must have a warp"):
        read_mapping(Transform(tmp_path / "a.mat", None))
