import numpy as np
import pytest
from scipy import ndimage

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.phantom.heart import BOX_MM, heart
from crossmodalnet.phantom.shape import LV_CENTRE_W, WALL_MM, Sizes, long_axis

STEP_MM = 3.0


@pytest.fixture(scope="module")
def grid():
    axes = [np.arange(low, high, STEP_MM, dtype=np.float32) for low, high in BOX_MM]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


@pytest.fixture(scope="module")
def masks(grid):
    fields = heart(grid.reshape(3, -1), Sizes())
    return {name: (field < 0).reshape(grid.shape[1:]) for name, field in fields.items()}


def touching(masks, name):
    """Share of the voxels just outside a structure, by what is there."""
    outside = ndimage.binary_dilation(masks[name]) & ~masks[name]
    return {other: (outside & masks[other]).sum() / outside.sum() for other in ABBREVIATIONS}


def test_structures_are_disjoint_and_in_one_piece(masks):
    assert sum(masks[name].astype(int) for name in ABBREVIATIONS).max() == 1
    assert [ndimage.label(masks[name])[1] for name in ABBREVIATIONS] == [1] * 7


def test_lv_lies_in_its_muscle_open_to_atrium_and_aorta(masks):
    neighbours = touching(masks, "LV")
    assert neighbours["Myo"] > 0.7
    assert neighbours["LA"] > 0.04
    assert neighbours["AO"] > 0.02
    assert neighbours["RV"] == neighbours["RA"] == neighbours["PA"] == 0


def test_myocardium_is_a_shell_open_at_the_base(masks):
    assert (ndimage.binary_fill_holes(masks["Myo"]) == masks["Myo"]).all()
    closed = ndimage.binary_fill_holes(masks["Myo"] | masks["LA"] | masks["AO"] | masks["walls"])
    assert (closed & masks["LV"]).sum() > 0.9 * masks["LV"].sum()


def test_rv_wraps_the_septum_and_leads_to_the_pulmonary_artery(masks):
    neighbours = touching(masks, "RV")
    assert neighbours["Myo"] > 0.15
    assert neighbours["RA"] > 0.02
    assert neighbours["PA"] > 0.02
    assert neighbours["LA"] == 0


def test_right_and_left_heart_do_not_mix(masks):
    left = masks["LV"] | masks["LA"] | masks["AO"]
    right = ndimage.binary_dilation(masks["RV"] | masks["RA"] | masks["PA"])
    assert (left & right).sum() < 0.01 * left.sum()


@pytest.mark.parametrize("wall", [0.8, 1.0, 1.2])
def test_wall_at_mid_level_is_as_thick_as_asked(wall):
    for angle in np.deg2rad([200, 240, 280]):  # towards the free wall
        radii = np.arange(0, 60, 0.25)
        ray = [long_axis(r * np.cos(angle), r * np.sin(angle), LV_CENTRE_W) for r in radii]
        inside = heart(np.array(ray, np.float32).T, Sizes(wall=wall))["Myo"] < 0
        assert inside.sum() * 0.25 == pytest.approx(WALL_MM * wall, abs=0.5)


def test_chambers_lie_where_anatomy_has_them(masks, grid):
    lv, rv, la, ra, _, ao, pa = (grid[:, masks[name]].mean(axis=1) for name in ABBREVIATIONS)
    assert lv[0] < rv[0] < ra[0]  # from left to right: x grows to the patient's right
    assert la[1] < lv[1] < rv[1]  # from back to front
    assert min(ao[2], pa[2]) > max(lv[2], rv[2], la[2], ra[2])  # vessels on top
    assert ao[0] > pa[0]


def test_pulmonary_artery_divides_to_both_sides(masks, grid):
    x, y, _ = grid[:, masks["PA"]]
    assert x.max() > 25
    assert x.min() < -38
    assert y[x > 20].max() < 0 < y[np.abs(x + 16) < 5].max()  # the branches behind, the trunk in front


def test_aorta_arches_backwards(masks, grid):
    x, y, z = grid[:, masks["AO"]]
    top = z > z.max() - 12
    assert y[top].min() < -25
    assert y[z < 30].min() > -20
    assert x[top & (y < -20)].mean() < x[(z > 35) & (z < 45)].mean()


def test_pericardium_stays_about_the_heart(grid, masks):
    fat = heart(grid.reshape(3, -1), Sizes(pericardial_fat=1.8))["pericardium"].reshape(grid.shape[1:]) < 0
    hearts = np.any([masks[name] for name in ABBREVIATIONS], axis=0)
    assert ndimage.distance_transform_edt(~hearts, sampling=STEP_MM)[fat].max() < 24
