from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging import geometry
from crossmodalnet.imaging.geometry import is_sheared, reoriented, reoriented_grid
from crossmodalnet.imaging.resample import resample, straightened, to_sitk
from crossmodalnet.imaging.untrusted import read_untrusted
from crossmodalnet.imaging.volume import Grid, Volume

SHAPE = (12, 14, 10)
Ramp = Callable[[Grid], np.ndarray[Any, Any]]


def sheared(degrees: float) -> np.ndarray[Any, Any]:
    shear = 2 * np.tan(np.deg2rad(degrees))
    return np.array([[-2.0, 0, 0, 30], [0, -2.0, shear, 40], [0, 0, 2.0, -50], [0, 0, 0, 1]])


def write(path: Path, fields: dict[str, Any], scale: float = 1.0) -> Path:
    """Write a file of 2 x 2 x 3 mm times the scale, then these fields of its header."""
    data = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    affine = np.diag([-2.0 * scale, -2.0 * scale, 3.0 * scale, 1.0])
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    content = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for key, value in fields.items():
        header[key] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)
    return path


PIXDIM = {"pixdim": [1, 2, 2, 1, 1, 1, 1, 1], "qform_code": 0}
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no orientation": ({"sform_code": 0, "qform_code": 0}, "sform and qform codes 0"),
    "two orientations": ({"qoffset_x": 7.0}, "up to 7 mm apart: assumed the sform"),
    "pixdim": (PIXDIM, "pixdim says 2 x 2 x 1 mm, the affine 2 x 2 x 3 mm: assumed the affine"),
    "damaged qform": ({"quatern_b": 5.0, "quatern_c": 5.0}, "the qform is damaged: assumed the sform"),
    "unit": ({"xyzt_units": 1}, "the header says metres, its spacing 2 x 2 x 3 is one in mm: assumed mm"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_noted_with_the_assumption(tmp_path: Path, name: str) -> None:
    fields, says = CONTRADICTIONS[name]
    found = read_untrusted(write(tmp_path / "x.nii", fields))
    assert [says in note for note in found.notes] == [True]
    assert np.linalg.norm(found.image.affine[:3, :3], axis=0) == pytest.approx([2, 2, 3])
    assert found.says_orientation == (name != "no orientation")


@pytest.mark.parametrize(("code", "scale"), [(1, 1e-3), (3, 1e3)])
def test_units_are_converted(tmp_path: Path, code: int, scale: float) -> None:
    found = read_untrusted(write(tmp_path / "x.nii", {"xyzt_units": code}, scale))
    assert found.image.affine == pytest.approx(np.diag([-2.0, -2.0, 3.0, 1.0]), abs=1e-5)
    assert found.pixdim_mm == pytest.approx([2, 2, 3], rel=1e-5)
    assert len(found.notes) == 1
    assert np.asarray(found.image.dataobj)[1, 2, 3] == 1 * 140 + 2 * 10 + 3


def test_tilted_gantry_is_sheared_and_rounding_is_not() -> None:
    turned = Grid(SHAPE, sheared(0.0).astype(np.float32).astype(np.float64))
    assert not is_sheared(turned)
    tilted = Grid(SHAPE, sheared(10.0))
    assert is_sheared(tilted)
    assert geometry.shear_degrees(tilted) == pytest.approx(10.0)
    assert not is_sheared(geometry.right_angled(tilted))
    assert turned.same_as(geometry.right_angled(turned))


def test_sheared_grid_is_refused_by_to_sitk() -> None:
    with pytest.raises(ValueError, match=r"10\.0 degrees off"):
        to_sitk(Volume(np.zeros(SHAPE, np.float32), sheared(10.0)))


def assert_in_place(found: Volume, original: Grid, ramp: Ramp) -> None:
    """Compare with the same function of the world, where the original has voxels on all sides."""
    points = found.grid.to_world(np.indices(found.data.shape).reshape(3, -1))
    index = original.to_index(points)
    inside = ((index >= 0) & (index <= np.array(original.shape)[:, None] - 1)).all(axis=0)
    inside &= np.isfinite(found.data.ravel())  # else beside the edge of a right-angled grid
    assert inside.mean() > 0.05
    off = np.abs(found.data.ravel() - ramp(found.grid).ravel())[inside]
    # The function rises by one per mm at least along any axis: a tenth of a voxel off would show.
    assert off.max() < 0.1 * min(original.spacing_mm)


def test_covering_grid_covers_every_voxel(ramp: Ramp) -> None:
    grid = Grid(SHAPE, sheared(12.0))
    cover = geometry.covering_grid(grid)
    indices = cover.to_index(grid.to_world(np.indices(SHAPE).reshape(3, -1)))
    assert indices.min() >= -1e-6
    assert (indices.max(axis=1) <= np.array(cover.shape) - 1 + 1e-6).all()
    back = resample(Volume(ramp(cover), cover.affine), grid, "linear", np.nan)
    assert back.data == pytest.approx(ramp(grid), abs=1e-3)


# Every order and direction of axes.
TURNS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


@pytest.mark.parametrize("seed", range(40))
def test_random_headers_keep_voxels_in_place(tmp_path: Path, seed: int, ramp: Ramp) -> None:
    """What lies in the world stays there to a tenth of a voxel, to the right-angled grid and back.

    In both formats and byte orders, as float and as scaled whole numbers, with and without shear.
    """
    rng = np.random.default_rng(seed)
    order, signs = TURNS[int(rng.integers(len(TURNS)))]
    spacing = rng.uniform(0.4, 6.0, 3)
    turn = np.linalg.qr(np.eye(3) + 0.3 * rng.normal(size=(3, 3)))[0]
    matrix = turn[:, list(order)] * np.array(signs) * spacing
    if rng.random() < 0.5:
        matrix[:, 2] += np.tan(np.deg2rad(rng.uniform(-20, 20))) * matrix[:, 1]
    i, j, k = (int(n) for n in rng.integers(14, 24, 3))
    shape = (i, j, k)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, rng.uniform(-200, 200, 3)
    image_class = (nib.Nifti1Image, nib.Nifti2Image)[int(rng.integers(2))]
    big_endian = image_class.header_class(endianness=(">", "<")[int(rng.integers(2))])
    image = image_class(ramp(Grid(shape, affine)), affine, big_endian)
    if rng.random() < 0.5:  # whole numbers and a slope, a thousandth of the range each
        image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "x.nii.gz")
    found = read_untrusted(tmp_path / "x.nii.gz")
    assert found.notes == ()
    volume = Volume(np.asarray(found.image.dataobj, np.float32), np.asarray(found.image.affine))
    assert_in_place(volume, Grid(shape, affine), ramp)
    straight = straightened(volume, "linear", np.nan)
    assert not is_sheared(straight.grid)
    assert_in_place(straight, Grid(shape, affine), ramp)
    # And back to the scan's own grid, as a prediction goes; what ITK repeats beyond the outermost voxel is no scan.
    index = volume.grid.to_index(straight.grid.to_world(np.indices(straight.data.shape).reshape(3, -1)))
    beyond = ((index < 0) | (index > np.array(shape)[:, None] - 1)).any(axis=0).reshape(straight.data.shape)
    scanned = np.where(beyond & is_sheared(volume.grid), np.nan, straight.data).astype(np.float32)
    back = resample(Volume(scanned, straight.affine), volume.grid, "linear", np.nan)
    assert_in_place(back, Grid(shape, affine), ramp)


@pytest.mark.parametrize(("axes", "flips"), TURNS)
def test_reoriented_inverts_any_turn(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [10, -15, 20], degrees=True).as_matrix() * [0.5, 0.8, 2.0]
    affine[:3, 3] = (5, -7, 11)
    original = Volume(np.arange(4 * 5 * 6).reshape(4, 5, 6), affine)
    data, matrix = original.data, original.affine.copy()
    for axis, flip in enumerate(flips):
        if flip < 0:
            data = np.flip(data, axis)
            matrix[:3, 3] += matrix[:3, axis] * (data.shape[axis] - 1)
            matrix[:3, axis] *= -1
    turned = Volume(data.transpose(axes), matrix[:, [*axes, 3]])
    found = reoriented(turned, original.grid)
    assert np.array_equal(found.data, original.data)
    assert np.allclose(found.affine, original.affine)
    assert reoriented_grid(turned.grid, original.grid).same_as(original.grid)


@pytest.mark.parametrize("order", ["C", "F"])
def test_class_extents_in_any_memory_order(order: str) -> None:
    labels = np.zeros((5, 6, 7), np.uint8, order)
    labels[1:3, 2:6, 4] = 2
    labels[4, 0, :2] = 5
    labels[0, 5, 1] = 5
    assert geometry.class_extents(labels) == {2: np.s_[1:3, 2:6, 4:5], 5: np.s_[0:5, 0:6, 0:2]}
    assert geometry.class_extents(0 * labels) == {}
