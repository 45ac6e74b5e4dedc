import itertools
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.geometry import (
    class_extents,
    covering_grid,
    is_sheared,
    reoriented,
    reoriented_grid,
    right_angled,
    shear_degrees,
)
from crossmodalnet.imaging.resample import resample, straightened, to_sitk
from crossmodalnet.imaging.untrusted import read_untrusted
from crossmodalnet.imaging.volume import Grid, Volume

SHAPE = (12, 14, 10)


def sheared(degrees: float, spacing: float = 2.0) -> np.ndarray[Any, Any]:
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[1, 2] = np.tan(np.deg2rad(degrees)) * spacing
    affine[:3, 3] = (30, 40, -50)
    return affine


def write(path: Path, change: Any = lambda header: None, affine: Any = None, scale: float = 1.0) -> Path:
    """Write a file whose header `change` has the last word on."""
    data = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    affine = np.diag([-2.0, -2.0, 3.0, 1.0]) if affine is None else affine
    affine = affine.copy()
    affine[:3] *= scale
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    content = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    change(header)
    content[:348] = header.binaryblock
    path.write_bytes(content)
    return path


def set_key(key: str, value: Any) -> Any:
    def change(header: Any) -> None:
        header[key] = value

    return change


def both_codes_zero(header: Any) -> None:
    header["sform_code"] = header["qform_code"] = 0


def other_qform(header: Any) -> None:
    header["qoffset_x"] = 7.0


def wrong_pixdim(header: Any) -> None:
    header["pixdim"][3] = 1.0
    header["qform_code"] = 0


def damaged_qform(header: Any) -> None:
    header["quatern_b"] = header["quatern_c"] = 5.0


def test_sound_header_has_no_notes(tmp_path: Path) -> None:
    assert read_untrusted(write(tmp_path / "x.nii")).notes == ()


CONTRADICTIONS = {
    "no orientation": (both_codes_zero, "sform and qform codes 0"),
    "two orientations": (other_qform, "up to 7 mm apart: assumed the sform"),
    "pixdim": (wrong_pixdim, "pixdim says 2 x 2 x 1 mm, the affine 2 x 2 x 3 mm: assumed the affine"),
    "damaged qform": (damaged_qform, "the qform is damaged: assumed the sform"),
    "unit": (set_key("xyzt_units", 1), "the header says metres, its spacing 2 x 2 x 3 is one in mm: assumed mm"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_noted_with_the_assumption(tmp_path: Path, name: str) -> None:
    change, says = CONTRADICTIONS[name]
    found = read_untrusted(write(tmp_path / "x.nii", change))
    assert [says in note for note in found.notes] == [True]
    assert np.linalg.norm(found.image.affine[:3, :3], axis=0) == pytest.approx([2, 2, 3])
    assert found.says_orientation == (name != "no orientation")


@pytest.mark.parametrize(("code", "scale"), [(1, 1e-3), (3, 1e3)])
def test_units_are_converted(tmp_path: Path, code: int, scale: float) -> None:
    found = read_untrusted(write(tmp_path / "x.nii", set_key("xyzt_units", code), scale=scale))
    assert found.image.affine == pytest.approx(np.diag([-2.0, -2.0, 3.0, 1.0]), abs=1e-5)
    assert found.pixdim_mm == pytest.approx([2, 2, 3], rel=1e-5)
    assert len(found.notes) == 1
    assert np.asarray(found.image.dataobj)[1, 2, 3] == 1 * 140 + 2 * 10 + 3


def test_tilted_gantry_is_sheared_and_rounding_is_not() -> None:
    turned = Grid(SHAPE, sheared(0.0).astype(np.float32).astype(np.float64))
    assert not is_sheared(turned)
    tilted = Grid(SHAPE, sheared(10.0))
    assert is_sheared(tilted)
    assert shear_degrees(tilted) == pytest.approx(10.0)
    assert not is_sheared(right_angled(tilted))
    assert turned.same_as(right_angled(turned))


def test_sheared_grid_is_refused_by_to_sitk() -> None:
    with pytest.raises(ValueError, match=r"10\.0 degrees off"):
        to_sitk(Volume(np.zeros(SHAPE, np.float32), sheared(10.0)))


def linear(grid: Grid) -> np.ndarray[Any, Any]:
    """Values that are linear in the world, so that linear interpolation is exact."""
    x, y, z = grid.to_world(np.indices(grid.shape).reshape(3, -1))
    return np.asarray((x + 2 * y - z).reshape(grid.shape), np.float32)


def assert_in_place(found: Volume, original: Grid) -> None:
    """Compare with the same function of the world, where the original has voxels on all sides."""
    points = found.grid.to_world(np.indices(found.data.shape).reshape(3, -1))
    index = original.to_index(points)
    inside = ((index >= 0) & (index <= np.array(original.shape)[:, None] - 1)).all(axis=0)
    inside &= np.isfinite(
        found.data.ravel()
    )  # beside the edge of a right-angled grid there is nothing to compare
    assert inside.mean() > 0.05
    off = np.abs(found.data.ravel() - linear(found.grid).ravel())[inside]
    # The function rises by one per mm at least along any axis: a tenth of a voxel off would show.
    assert off.max() < 0.1 * min(original.spacing_mm)


@pytest.mark.parametrize("degrees", [0.5, 10.0, 25.0])
def test_straightened_voxels_stay_in_place(degrees: float) -> None:
    grid = Grid(SHAPE, sheared(degrees))
    straight = straightened(Volume(linear(grid), grid.affine), "linear", np.nan)
    assert not is_sheared(straight.grid)
    assert_in_place(straight, grid)


def test_covering_grid_covers_every_voxel() -> None:
    grid = Grid(SHAPE, sheared(12.0))
    cover = covering_grid(grid)
    indices = cover.to_index(grid.to_world(np.indices(SHAPE).reshape(3, -1)))
    assert indices.min() >= -1e-6
    assert (indices.max(axis=1) <= np.array(cover.shape) - 1 + 1e-6).all()
    back = resample(Volume(linear(cover), cover.affine), grid, "linear", np.nan)
    assert back.data == pytest.approx(linear(grid), abs=1e-3)


# Every order and direction of axes; both formats and byte orders, float and scaled whole numbers, shear or none.
_TURNS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


@pytest.mark.parametrize("seed", range(40))
def test_random_headers_keep_voxels_in_place(tmp_path: Path, seed: int) -> None:
    """What lies in the world stays there to a tenth of a voxel, to the right-angled grid and back."""
    rng = np.random.default_rng(seed)
    order, signs = _TURNS[int(rng.integers(len(_TURNS)))]
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
    image = image_class(linear(Grid(shape, affine)), affine, big_endian)
    if rng.random() < 0.5:  # whole numbers and a slope, a thousandth of the range each
        image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "x.nii.gz")
    found = read_untrusted(tmp_path / "x.nii.gz")
    assert found.notes == ()
    volume = Volume(np.asarray(found.image.dataobj, np.float32), np.asarray(found.image.affine))
    assert_in_place(volume, Grid(shape, affine))
    straight = straightened(volume, "linear", np.nan)
    assert_in_place(straight, Grid(shape, affine))
    # And back to the scan's own grid, as a prediction goes; what ITK repeats beyond the outermost voxel is no scan.
    index = volume.grid.to_index(straight.grid.to_world(np.indices(straight.data.shape).reshape(3, -1)))
    beyond = ((index < 0) | (index > np.array(shape)[:, None] - 1)).any(axis=0).reshape(straight.data.shape)
    straight = Volume(
        np.where(beyond & is_sheared(volume.grid), np.nan, straight.data).astype(np.float32), straight.affine
    )
    assert_in_place(resample(straight, volume.grid, "linear", np.nan), Grid(shape, affine))


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product((1, -1), repeat=3)))
def test_reoriented_inverts_any_order_and_direction_of_axes(
    axes: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    """An oblique volume is turned by hand: voxel (i, j, k) is at the same place in both."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [10, -15, 20], degrees=True).as_matrix() @ np.diag(
        [0.5, 0.8, 2.0]
    )
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
    assert class_extents(labels) == {
        2: (slice(1, 3), slice(2, 6), slice(4, 5)),
        5: (slice(0, 5), slice(0, 6), slice(0, 2)),
    }


def test_class_extents_of_background() -> None:
    assert class_extents(np.zeros((2, 3, 4), np.uint8)) == {}
