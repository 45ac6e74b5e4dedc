from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
from PIL.ImageDraw import ImageDraw
from scipy.ndimage import binary_erosion

from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference.preview import CT_WINDOW_HU, PAPER, Side, grey_window, preview, surfaces
from crossmodalnet.roi.box import Box

# The world is RAS: x grows to the patient's right, y to the front, z to the head.
GRID = Grid((40, 30, 50), np.eye(4))
SIZE = (40, 50)  # a pixel per millimetre


def ball(centre: tuple[int, int, int]) -> Volume:
    """Structure 1, a ball of 10 mm."""
    away = np.indices(GRID.shape) - np.reshape(centre, (3, 1, 1, 1))
    return Volume(((away**2).sum(axis=0) < 100).astype(np.uint8), GRID.affine)


def heart() -> Volume:
    """Structure 1 in front of 2 (right half, low), 3 behind alone (left half, high)."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[24:36, 18:26, 8:22] = 1
    labels[22:38, 4:14, 6:24] = 2
    labels[4:16, 4:14, 30:44] = 3
    return Volume(labels, GRID.affine)


def test_radiological_view_hides_what_lies_behind() -> None:
    shown = surfaces(heart(), GRID, SIZE)
    front, back = shown["front"][1], shown["back"][1]
    # x = 30, z = 15: column 39 - 30 in front, 30 behind, row 49 - 15.
    assert (front[34, 9], back[34, 30]) == (1, 2)
    assert front[49 - 37, 39 - 10] == back[49 - 37, 10] == 3
    assert (front == 2).sum() < (front == 1).sum()
    assert not (back == 1).any()


def test_shading() -> None:
    picture, classes = surfaces(heart(), GRID, SIZE)["front"]
    nothing = binary_erosion(classes == 0, iterations=2)  # outlines are mixed with what is behind them
    assert (picture[nothing] == PAPER).all()
    colour = np.array([int(STRUCTURES[2].colour[i : i + 2], 16) for i in (1, 3, 5)], float)
    inside = picture[binary_erosion(classes == 3)].astype(float)
    lit = inside @ colour / (colour @ colour)
    np.testing.assert_allclose(inside, lit[:, None] * colour, atol=1.5)
    assert 0.1 < lit.min() < lit.max() <= 1.01


@pytest.mark.parametrize("side", ["front", "back"])
def test_light_from_the_viewers_upper_left(side: Side) -> None:
    picture, classes = surfaces(ball((20, 15, 25)), GRID, SIZE)[side]
    shade = picture.max(axis=2).astype(float)
    row, column = np.argwhere(classes == 1).mean(axis=0).round().astype(int)
    diagonal = [shade[row + k, column + k] for k in (-3, 2, 5)]
    assert all(a > b for a, b in pairwise(diagonal))
    across = [shade[row - 5, column + 4], shade[row + 5, column - 4]]
    assert shade[row - 3, column - 3] > max(across)


def test_position_and_size_of_a_sphere() -> None:
    """Pixels of 0.5 mm; centre at 12.5 mm and 30.5 mm from the grid's corner."""
    shown = surfaces(ball((12, 15, 30)), GRID, (80, 100))
    for (_, classes), column in ((shown["front"], 2 * (40 - 12.5)), (shown["back"], 2 * 12.5)):
        assert classes.shape == (100, 80)
        rows, columns = np.nonzero(classes)
        assert rows.mean() + 0.5 == pytest.approx(2 * (50 - 30.5), abs=0.6)
        assert columns.mean() + 0.5 == pytest.approx(column, abs=0.6)
        assert np.count_nonzero(classes) / 4 == pytest.approx(np.pi * 100, rel=0.08)


def test_single_voxels_and_cut_structures() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[30, 20, 30] = 1  # one voxel
    labels[5:20, :, 0:15] = 2  # to the edge in front, behind and below
    for _, classes in surfaces(Volume(labels, GRID.affine), GRID, SIZE).values():
        assert (classes == 1).any()
        assert (classes[40:49] == 2).sum() > 9 * 12


@pytest.mark.parametrize("size", [(29, 57), (58, 115), (1, 1)])
def test_size_of_pictures_and_empty_label_map(size: tuple[int, int]) -> None:
    for picture, classes in surfaces(heart(), GRID, size).values():
        assert picture.shape == (*classes.shape, 3) == (size[1], size[0], 3)
    nothing = Volume(np.zeros(GRID.shape, np.uint8), GRID.affine)
    for picture, classes in surfaces(nothing, GRID, size).values():
        assert (picture == PAPER).all()
        assert not classes.any()


def test_planes_are_radiological() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[10:30, 20:28, 5:28], labels[10:30, 2:10, 5:28], labels[10:30, 2:28, 30:45] = 1, 2, 3
    labels[32:38, 2:28, 5:28] = 4
    image = Volume(np.full(GRID.shape, -1000, np.float32), GRID.affine)
    box = Box((0.0, 0.0, 0.0), (40.0, 30.0, 50.0))
    shown = np.asarray(preview(image, Volume(labels, GRID.affine), Modality.CT, box), float)
    # Panels of 90 x 80 x 100 mm, 3.6 pixels each, and gaps of 6 pixels.
    panels = {"axial": 6, "coronal": 336, "sagittal": 666}
    front, back, top, right = (np.array([int(s.colour[i : i + 2], 16) for i in (1, 3, 5)]) for s in STRUCTURES[:4])

    def place(name: str, colour: np.ndarray) -> np.ndarray:
        panel = shown[372:732, panels[name] : panels[name] + 288]
        return np.argwhere(abs(panel - colour).sum(axis=-1) < 9).mean(axis=0)  # of the outline

    assert place("sagittal", front)[1] < place("sagittal", back)[1] - 20
    assert place("sagittal", top)[0] < place("sagittal", back)[0] - 20
    assert place("axial", front)[0] < place("axial", back)[0] - 20
    assert place("axial", right)[1] < place("axial", front)[1] - 20
    assert place("coronal", right)[1] < place("coronal", top)[1] - 20


def test_window_of_ct_and_of_what_is_not_in_hu() -> None:
    hu = np.linspace(-1000, 1000, 2001, dtype=np.float32).reshape(3, 23, 29)
    assert grey_window(Volume(hu, GRID.affine), Modality.CT) == CT_WINDOW_HU
    low, high = grey_window(Volume(hu + 1024, GRID.affine), Modality.CT)
    assert (low, high) == pytest.approx((44, 2014), abs=2)


def test_titles_and_names() -> None:
    image = Volume(np.full(GRID.shape, 40, np.float32), GRID.affine)
    with patch.object(ImageDraw, "text", autospec=True, side_effect=ImageDraw.text) as text:
        shown = preview(image, heart(), Modality.CT, Box((-20.0, -20.0, -20.0), (60.0, 50.0, 70.0)))
    written = [call.args[2] for call in text.call_args_list]
    assert shown.width > shown.height > 600
    titles = {"axial, CT", "axial, structures", "surface, from the front", "surface, from behind", "5 cm"}
    assert titles | {"LV", "RV", "LA"} <= set(written)
    assert written.count("LA") >= 2  # from both sides; the others hide one another
    assert {"LV: left ventricle blood cavity", "not found: pulmonary artery"} <= set(written)
    assert not {"PA: pulmonary artery", "not found: left ventricle blood cavity"} & set(written)
    assert "Myo" not in written
