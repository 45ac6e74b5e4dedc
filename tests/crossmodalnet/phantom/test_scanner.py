"""Scan geometry: axial CT, oblique MR with thick slices, all about the heart."""

import numpy as np
import pytest

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.phantom.scanner import draw_scan


def scans(modality, num=12):
    return [draw_scan(np.random.default_rng(seed), modality, 3.0) for seed in range(num)]


def obliqueness_deg(scan):
    direction = scan.grid.affine[:3, :3] / np.linalg.norm(scan.grid.affine[:3, :3], axis=0)
    nearest = np.sign(direction) * (np.abs(direction) == np.abs(direction).max(axis=0))
    return np.rad2deg(np.arccos((np.trace(direction @ nearest.T) - 1) / 2))


def test_ct_is_parallel_to_the_axes_and_mr_is_oblique():
    assert max(obliqueness_deg(scan) for scan in scans(Modality.CT)) < 1e-4
    angles = [obliqueness_deg(scan) for scan in scans(Modality.MR)]
    assert 4.9 < min(angles) < max(angles) < 20.1


def test_mr_slices_are_thicker():
    for scan in scans(Modality.MR):
        steps = np.array(scan.grid.spacing_mm)
        others = np.delete(steps, scan.slice_axis)
        assert steps[scan.slice_axis] == pytest.approx(1.6 * others[0])
        assert 2.85 < others[0] == pytest.approx(others[1])


@pytest.mark.parametrize("modality", list(Modality))
def test_orientations_and_origins_differ(modality):
    drawn = scans(modality)
    signs = {tuple(np.round(s.grid.affine[:3, :3] / 3.0).ravel()) for s in drawn}
    assert len(signs) > 6
    assert np.std([s.grid.affine[:3, 3] for s in drawn], axis=0).min() > 20


@pytest.mark.parametrize("modality", list(Modality))
def test_heart_lies_well_within_the_field_of_view(modality):
    for scan in scans(modality):
        index = scan.grid.to_index(scan.heart_mm[:, None])[:, 0]
        edge_mm = np.minimum(index, np.array(scan.grid.shape) - 1 - index) * scan.grid.spacing_mm
        assert edge_mm.min() > 60


def test_patient_points_are_world_points_relative_to_the_heart():
    scan = scans(Modality.MR)[3]
    points = scan.patient_points()
    expected = scan.grid.to_world(np.array([[4], [2], [7]])) - scan.heart_mm[:, None]
    np.testing.assert_allclose(points[:, 4, 2, 7], expected[:, 0], atol=1e-3)
    shifted = np.linalg.norm(scan.patient_points(0.5) - points, axis=0)
    np.testing.assert_allclose(shifted, 0.5 * scan.grid.spacing_mm[scan.slice_axis], atol=1e-3)
