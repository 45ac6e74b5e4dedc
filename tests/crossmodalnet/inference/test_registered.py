from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from nibabel.affines import from_matvec
from nibabel.orientations import axcodes2ornt, inv_ornt_aff
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.geometry import WORLD, reoriented
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference.registered import fault_of_orientation, labels_on_mr, register_scans
from crossmodalnet.phantom.generate import make_subject
from crossmodalnet.processes import run_alone
from crossmodalnet.registration import make_registration
from crossmodalnet.registration.ants import Transform, warp, write_affine, write_field
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.roi.box import Box, box_of

REGISTER = RegistrationConfig(working_spacing_mm=7.0, iterations=[10, 5])
MR = Grid((44, 40, 30), np.diag([2.5, 2.5, 3.5, 1.0]))


@pytest.fixture
def transform(tmp_path: Path) -> Transform:
    """A turn, a shift, and a bump of 9 mm one way as well as the other."""
    turn = Rotation.from_euler("xyz", [12, -8, 20], degrees=True).as_matrix()
    write_affine(from_matvec(turn * 1.1, (14, -10, 6)), tmp_path / "syn0GenericAffine.mat")
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    points = np.moveaxis(np.indices((30, 30, 30)) * 4.0, 0, -1)
    bump = 9 * np.exp(-(((points - 55) / 20) ** 2).sum(axis=-1, keepdims=True)) * np.array([1, -0.5, 0.7])
    write_field(tmp_path / "syn1Warp.nii.gz", bump, affine)
    write_field(tmp_path / "syn1InverseWarp.nii.gz", -bump, affine)
    return Transform(tmp_path / "syn0GenericAffine.mat", tmp_path / "syn1Warp.nii.gz")


def _labels(*boxes: Any) -> Volume:
    data = np.zeros((60, 60, 50), np.uint8)
    for value, box in enumerate(boxes, 1):
        data[box] = value
    return Volume(data, np.diag([2.0, 2.0, 2.0, 1.0]))


INSIDE = np.s_[20:35, 22:40, 18:30]


@pytest.mark.parametrize(
    "boxes",
    [
        (INSIDE, np.s_[30:42, 18:30, 20:33]),
        (np.s_[:, 0:12, :], np.s_[50:60, :, 40:50]),
        (np.s_[30, 30, 25], np.s_[31, 30, 25]),
    ],
    ids=["within", "to the borders", "two voxels"],
)
def test_labels_on_mr_equal_those_of_the_whole_map(boxes: tuple[Any, ...], transform: Transform) -> None:
    labels = _labels(*boxes)
    whole = warp(labels, MR, transform.inverse_files, "nearest", inverted=True).data
    found = labels_on_mr(labels, MR, transform)
    assert 0 < np.count_nonzero(whole) < whole.size
    np.testing.assert_array_equal(found.data, whole)
    np.testing.assert_array_equal(found.affine, MR.affine)
    assert found.data.dtype == np.uint8


@pytest.mark.parametrize("edge", [30, 60])
def test_far_larger_ct_is_registered_near_the_roi(edge: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ct, mr = (Volume(np.zeros((n, n, n), np.float32), np.diag([5.0, 5.0, 5.0, 1.0])) for n in (edge, 24))
    engine = Mock()
    monkeypatch.setattr("crossmodalnet.inference.registered.make_registration", lambda _: engine)
    monkeypatch.setattr("crossmodalnet.inference.registered._flipped", lambda *_: ())
    register_scans(ct, mr, REGISTER, tmp_path, Box((100.0, 100.0, 100.0), (140.0, 130.0, 120.0)))
    sizes_mm = 5 * np.array(engine.register.call_args.args[0].data.shape)
    np.testing.assert_allclose(sizes_mm, (150, 150, 150) if edge == 30 else (150, 140, 130), atol=6)
    assert engine.warp_image.call_args.args[1].shape == ct.grid.shape


@pytest.mark.parametrize(
    ("axes", "fault"), [((), ""), ((0,), "mirrored from left to right"), ((0, 1), "turned by 180 degrees")]
)
def test_fault_of_orientation_is_found(tmp_path: Path, axes: tuple[int, ...], fault: str) -> None:
    ct, label = make_subject(Modality.CT, 5.0, 71, 3)
    mr = reoriented(make_subject(Modality.MR, 5.0, 71, 13)[0], WORLD)
    flipped = Volume(np.flip(mr.data, axes).copy(), mr.affine)
    register = partial(register_scans, mr=flipped, config=REGISTER, folder=tmp_path, box=None)
    found = run_alone(register, ct, environment={"ANTS_RANDOM_SEED": "1"})
    says = fault_of_orientation(ct, found, box_of(label))
    assert (says.startswith(fault), bool(says)) == (True, bool(axes))


def test_labels_outside_of_the_mr(transform: Transform) -> None:
    far = MR.affine.copy()
    far[0, 3] = 400
    assert not labels_on_mr(_labels(INSIDE), Grid(MR.shape, far), transform).data.any()
    assert not labels_on_mr(_labels(), MR, transform).data.any()


@pytest.mark.parametrize(
    "method", [pytest.param("syn", marks=pytest.mark.slow), pytest.param("fast", marks=pytest.mark.stress)]
)
def test_registration_is_independent_of_orientation(scan: Any, centred: Any, tmp_path: Path, method: Any) -> None:
    config = REGISTER.model_copy(update={"method": method})
    registration = make_registration(config)
    ct, _ = scan("ct", centred(6.5))
    mr, mr_label = scan("mr", centred(6.5), shift_mm=(10, -5, 5), scale=0.95)
    moved: list[tuple[Volume, Volume]] = []
    # A header in single precision puts the scan elsewhere by some 1e-5 mm.
    for of_ct, of_mr, off_mm in (("ASL", "LPS", 0.0), ("IRP", "SAL", 1e-5)):
        folder = tmp_path / of_ct
        folder.mkdir()
        here, there = _stored(ct, of_ct, off_mm), _stored(mr, of_mr, off_mm)
        register = partial(register_scans, mr=there, config=config, folder=folder, box=None)
        found = run_alone(register, here, environment={"ANTS_RANDOM_SEED": "1"})
        labels = registration.warp_labels(_stored(mr_label, of_mr), here.grid, found.transform)
        assert labels.data.any()
        moved.append((_turned_as(found.mr, ct, here), _turned_as(labels, ct, here)))
    (image, label), (other_image, other_label) = moved
    np.testing.assert_allclose(other_image.data, image.data, atol=1e-4 * np.ptp(mr.data))
    assert (other_label.data != label.data).mean() < 1e-4  # ties


@pytest.mark.parametrize("method", ["syn", "fast"])
def test_resampling_is_independent_of_orientation(transform: Transform, method: Any) -> None:
    registration = make_registration(REGISTER.model_copy(update={"method": method}))
    labels = _labels(INSIDE)
    image = Volume(np.random.default_rng(0).normal(size=labels.data.shape).astype(np.float32), labels.affine)
    fine = Volume(np.zeros((83, 79, 64), np.uint8), np.diag([0.9, 0.9, 0.9, 1.0]))
    for warped, volume in ((registration.warp_image, image), (registration.warp_labels, labels)):
        expected = warped(volume, fine.grid, transform)
        turned = _stored(fine, "IPL")
        found = _turned_as(warped(volume, turned.grid, transform), fine, turned)
        assert expected.data.any()
        np.testing.assert_array_equal(found.data, expected.data)


def _stored(volume: Volume, codes: str, off_mm: float = 0.0) -> Volume:
    """Store a volume along other axes, each voxel where it was, or a little off."""
    turned = reoriented(volume, Grid((1, 1, 1), inv_ornt_aff(axcodes2ornt(codes), (1, 1, 1))))
    affine = turned.affine.copy()
    affine[:3, 3] += off_mm
    return Volume(np.ascontiguousarray(turned.data), affine)


def _turned_as(volume: Volume, like: Volume, grid_of: Volume) -> Volume:
    """Turn what lies on the grid of one volume as another volume is stored."""
    np.testing.assert_array_equal(volume.affine, grid_of.affine)
    return reoriented(volume, like.grid)
