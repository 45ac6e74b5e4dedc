import numpy as np
import pytest
from nibabel.affines import from_matvec
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.volume import Grid
from crossmodalnet.roi import restore
from crossmodalnet.roi.restore import keep_largest_component, restore_labels

WORKING = Grid((12, 14, 10), np.diag([3.0, 3.0, 3.0, 1.0]))
OBLIQUE = Rotation.from_euler("xyz", [12, -7, 20], degrees=True).as_matrix() * (1.2, 1.4, 1.9)
GANTRY_TILT = [[2.0, 0, 0], [0, 2.0, 2 * np.tan(np.deg2rad(10))], [0, 0, 2.0]]
NATIVES = {
    "same": WORKING,
    "finer": Grid((30, 31, 17), np.diag([1.1, 1.3, 1.7, 1.0])),
    "flipped": Grid((20, 20, 20), np.array([[-2.0, 0, 0, 36], [0, 0, 2, 0], [0, -2, 0, 36], [0, 0, 0, 1]])),
    "oblique": Grid((40, 36, 30), from_matvec(OBLIQUE, (-8.0, -11.0, -15.0))),
    "sheared": Grid((20, 22, 16), from_matvec(GANTRY_TILT, (-2.0, -5.0, -1.0))),
}
LOGITS = np.random.default_rng(0).normal(size=(8, *WORKING.shape)) * 3
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum(0)).astype(np.float32)


def by_scipy(native: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate at the native voxels between working voxel centres, and tell which these are."""
    voxels = np.indices(native.shape).reshape(3, -1)
    points = WORKING.to_index(native.to_world(voxels)).T
    inside = ((points >= 0) & (points <= np.array(WORKING.shape) - 1)).all(axis=1)
    axes = [np.arange(n) for n in WORKING.shape]
    values = RegularGridInterpolator(axes, PROBABILITIES.transpose(1, 2, 3, 0))(points[inside])
    labels = np.zeros(len(points), np.uint8)
    labels[inside] = values.argmax(axis=1)
    return labels.reshape(native.shape), inside.reshape(native.shape)


@pytest.mark.parametrize("name", NATIVES)
def test_against_scipy(name: str) -> None:
    native = NATIVES[name]
    expected, inside = by_scipy(native)
    found = restore_labels(PROBABILITIES, WORKING, native)
    assert inside.sum() > 1000
    assert (found.data[inside] == expected[inside]).mean() > 0.9995  # rounding may decide near-ties otherwise
    assert found.data.dtype == np.uint8
    np.testing.assert_array_equal(found.affine, native.affine)


def test_outside_of_the_working_box_is_background() -> None:
    probabilities = np.zeros((8, *WORKING.shape), np.float32)
    probabilities[6] = 1
    native = NATIVES["oblique"]
    points = WORKING.to_index(native.to_world(np.indices(native.shape).reshape(3, -1)))
    upper = np.array(WORKING.shape)[:, None] - 0.5
    expected = 6 * ((points >= -0.5) & (points <= upper)).all(axis=0).reshape(native.shape)
    found = restore_labels(probabilities, WORKING, native).data
    assert 0 < (expected > 0).mean() < 1
    assert (found != expected).mean() < 1e-3


def test_scan_beside_the_working_box_is_all_background() -> None:
    far = Grid((5, 6, 7), from_matvec(np.eye(3), (500, 0, 0)))
    assert not restore_labels(PROBABILITIES, WORKING, far).data.any()


def test_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    native = NATIVES["oblique"]
    whole = restore_labels(PROBABILITIES, WORKING, native).data
    monkeypatch.setattr(restore, "SLAB_VOXELS", 2500)  # two or so planes at a time
    np.testing.assert_array_equal(restore_labels(PROBABILITIES, WORKING, native).data, whole)


def test_ties_go_to_the_lower_class() -> None:
    even = np.full((8, *WORKING.shape), 0.125, np.float32)
    assert not restore_labels(even, WORKING, NATIVES["finer"]).data.any()


def test_probabilities_must_lie_on_the_working_grid() -> None:
    with pytest.raises(ValueError, match=r"\(12, 14, 10\)"):
        restore_labels(np.zeros((8, 3, 3, 3), np.float32), WORKING, WORKING)


def test_smaller_pieces_become_background() -> None:
    labels = np.zeros((9, 8, 7), np.uint8)
    labels[1:4, 1:4, 1:4] = 3
    labels[6:8, 6:8, 5] = 3
    expected = labels.copy()
    expected[6:8] = 0
    np.testing.assert_array_equal(keep_largest_component(labels), expected)


def test_structures_do_not_join_and_do_not_count_for_each_other() -> None:
    labels = np.zeros((12, 3, 3), np.uint8)
    labels[0:3], labels[3:7], labels[7:9], labels[9:] = 1, 2, 1, 7
    expected = labels.copy()
    expected[7:9] = 0  # the second piece of 1, though it touches 2
    np.testing.assert_array_equal(keep_largest_component(labels), expected)


def test_corners_connect() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[2, 2, 2] = 4
    np.testing.assert_array_equal(keep_largest_component(labels), labels)


def test_equals_stay_and_the_input_is_untouched() -> None:
    labels = np.zeros((7, 2, 2), np.uint8)
    labels[0], labels[4] = 2, 2
    before = labels.copy()
    assert np.unique(np.argwhere(keep_largest_component(labels))[:, 0]).tolist() == [0, 4]
    np.testing.assert_array_equal(labels, before)


def test_no_structure() -> None:
    assert not keep_largest_component(np.zeros((3, 4, 5), np.uint8)).any()
