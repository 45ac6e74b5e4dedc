import numpy as np
import pandas as pd
import pytest

from crossmodalnet.imaging.nifti import write_image, write_label_map
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.roi.box import Box
from pipeline.config.sections import ReportConfig
from pipeline.report import overlays
from pipeline.report.overlays import CaseOverlay, best_slices, rank_cases


class Options(ReportConfig):
    margin_mm = 2.0
    ct_window_hu = (0.0, 100.0)


def draw(folder, *, flip=False):
    """A heart block with a bright corner at the patient's right, front and top; voxels stored RAS or LPI."""
    ct, label = np.zeros((24, 20, 16), np.float32), np.zeros((24, 20, 16), np.uint8)
    label[4:20, 4:16, 4:12] = 1
    ct[14:19, 11:15, 8:11] = 100
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    if flip:
        ct, label = np.flip(ct), np.flip(label)
        affine = affine @ np.array([[-1, 0, 0, 23], [0, -1, 0, 19], [0, 0, -1, 15], [0, 0, 0, 1.0]])
    files = {key: folder / f"{key}.nii.gz" for key in ("ct", "mr", "truth")}
    for key in ("ct", "mr"):
        write_image(files[key], Volume(ct, affine))
    write_label_map(files["truth"], Volume(label, affine))
    planes = overlays.draw_planes(files, {"m": files["truth"]}, Options(panel_px=80))
    return CaseOverlay("best", "p", {"m": 1.0}, planes)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_right_front_and_top_are_drawn_left_and_top(tmp_path, plane, monkeypatch):
    monkeypatch.setattr(overlays, "best_slices", lambda *_: [32.0, 26.0, 27.0])  # through the bright corner
    picture = draw(tmp_path).planes[plane]["CT"][..., 0] > 128
    picture[-16:] = False  # the scale bar
    rows, columns = np.nonzero(picture)
    assert rows.mean() < 0.45 * picture.shape[0]
    assert columns.mean() < 0.45 * picture.shape[1]


def test_pictures_do_not_depend_on_the_order_of_voxels(tmp_path):
    straight, flipped = draw(tmp_path), draw(tmp_path, flip=True)
    for plane, panels in straight.planes.items():
        for title, picture in panels.items():
            difference = np.abs(picture.astype(int) - flipped.planes[plane][title].astype(int))
            assert np.percentile(difference, 98) <= 8


def test_panels_have_the_proportions_of_the_box_and_a_row_per_plane_below_the_text(tmp_path):
    # label box: 32 x 24 x 24 mm, and 2 mm on each side: 36 x 28 x 28
    overlay = draw(tmp_path)
    sizes = {plane: panels["CT"].shape[:2] for plane, panels in overlay.planes.items()}
    assert sizes == {"axial": (62, 80), "coronal": (62, 80), "sagittal": (62, 62)}
    assert overlays.mosaic(overlay).size == (6 + 4 * (80 + 6), 16 * 3 + 6 + 3 * 62 + 4 * 6)


@pytest.mark.parametrize(
    ("dice", "ranks"),
    [
        ((0.5, 0.9, 0.7, 0.8, 0.6), {"p1": "best", "p2": "median", "p0": "worst"}),
        ((0.5, 0.9), {"p1": "best and median", "p0": "worst"}),
        ((0.5,), {"p0": "best and median and worst"}),
    ],
)
def test_best_median_and_worst(dice, ranks):
    assert rank_cases(pd.Series(dice, [f"p{place}" for place in range(len(dice))])) == ranks


def test_labels_are_laid_over_the_picture_and_the_truth_outlined_in_white():
    grey, classes = np.full((9, 9), 100, np.uint8), np.zeros((9, 9), np.intp)
    classes[2:7, 2:7] = 1  # LV: #d62728
    plain = overlays.paint(grey, classes)
    assert plain[0, 0].tolist() == [100, 100, 100]
    assert plain[4, 4].tolist() == [round(0.45 * 100 + 0.55 * c) for c in (0xD6, 0x27, 0x28)]
    outlined = overlays.paint(grey, np.zeros((9, 9), np.intp), classes)
    assert outlined[4, 6].tolist() == [232, 232, 232]  # 0.15 * 100 + 0.85 * 255
    assert outlined[4, 4].tolist() == [100, 100, 100]


def test_overlays_have_a_picture_per_image_and_method(artefacts):
    best, *others = overlays.case_overlays(artefacts)
    assert [best.rank, *(other.rank for other in others)] == ["best", "median", "worst"]
    assert list(best.planes) == ["axial", "coronal", "sagittal"]
    titles = ["CT", "MR, registered", "Truth", "CrossModalNet", "MedNeXt", "Atlas baseline"]
    assert list(best.planes["axial"]) == titles


def test_best_slice_shows_most_structures_rather_than_most_voxels():
    label = np.zeros((20, 20, 20), np.uint8)
    label[2:18, 2:18, 4] = 1
    label[4, 4, 10], label[14, 14, 10] = 2, 3
    chosen = best_slices(Volume(label, np.diag([2.0, 2.0, 2.0, 1.0])), Box((-1.0, -1.0, -1.0), (39.0, 39.0, 39.0)))
    assert chosen[2] == 20.0
