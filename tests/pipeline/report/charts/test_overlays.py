import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from crossmodalnet.imaging.nifti import write_image, write_label_map
from crossmodalnet.imaging.volume import Volume
from pipeline.config.sections import ReportConfig
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Result, TestCase
from pipeline.report.charts import overlays
from pipeline.report.charts.overlays import Panel, rank_cases

PARAMS = ReportConfig(panel_px=80, margin_mm=2.0, ct_window_hu=(0.0, 100.0))


def pixels(panel: Panel) -> NDArray[np.uint8]:
    with Image.open(BytesIO(base64.b64decode(panel.source.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def ranked(*dice: float) -> Result:
    cases = pd.DataFrame({"pair": [f"p{i}" for i in range(len(dice))], "structure": "LV", "dice": dice})
    return Result("m", {}, cases, 0, 0, {})


def draw(folder: Path, *, flip: bool) -> dict[str, list[Panel]]:
    """A heart block with a bright corner at the patient's right, front and top; voxels stored RAS or LPI."""
    ct, label = np.zeros((24, 20, 16), np.float32), np.zeros((24, 20, 16), np.uint8)
    label[4:20, 4:16, 4:12] = 1
    ct[14:19, 11:15, 8:11] = 100
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    if flip:
        ct, label = ct[::-1, ::-1, ::-1], label[::-1, ::-1, ::-1]
        affine = affine @ np.array([[-1, 0, 0, 23], [0, -1, 0, 19], [0, 0, -1, 15], [0, 0, 0, 1.0]])
    case = TestCase("p", folder / "ct.nii.gz", folder / "mr.nii.gz", folder / "label.nii.gz")
    for path in (case.ct, case.mr):
        write_image(path, Volume(ct, affine))
    write_label_map(case.truth, Volume(label, affine))
    return overlays._draw(case, {"m": Volume(label, affine)}, PARAMS)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_right_front_and_top_are_drawn_left_and_top(
    tmp_path: Path, plane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlays, "best_slices", lambda *_: [32.0, 26.0, 27.0])  # through the bright corner
    picture = pixels(draw(tmp_path, flip=False)[plane][0])[..., 0] > 128
    picture[-16:] = False  # the scale bar
    rows, columns = np.nonzero(picture)
    assert rows.mean() < 0.45 * picture.shape[0]
    assert columns.mean() < 0.45 * picture.shape[1]


def test_pictures_do_not_depend_on_the_order_of_voxels(tmp_path: Path) -> None:
    (tmp_path / "flipped").mkdir()
    straight, flipped = draw(tmp_path, flip=False), draw(tmp_path / "flipped", flip=True)
    for plane, panels in straight.items():
        for one, other in zip(panels, flipped[plane], strict=True):
            difference = np.abs(pixels(one).astype(int) - pixels(other).astype(int))
            assert np.percentile(difference, 98) <= 8


def test_panels_have_the_proportions_of_the_box(tmp_path: Path) -> None:
    # label box: 30 x 22 x 21 mm, and 2 mm on each side: 34 x 26 x 25
    sizes = {plane: (p[0].width, p[0].height) for plane, p in draw(tmp_path, flip=False).items()}
    assert sizes == {"axial": (80, 61), "coronal": (80, 59), "sagittal": (61, 59)}


@pytest.mark.parametrize(
    ("dice", "ranks"),
    [
        ((0.5, 0.9, 0.7, 0.8, 0.6), {"p1": "best", "p2": "median", "p0": "worst"}),
        ((0.5, 0.9), {"p1": "best and median", "p0": "worst"}),
        ((0.5,), {"p0": "best and median and worst"}),
    ],
)
def test_best_median_and_worst(dice: tuple[float, ...], ranks: dict[str, str]) -> None:
    assert rank_cases(ranked(*dice)) == ranks


def test_labels_are_laid_over_the_picture_and_the_truth_outlined_in_white() -> None:
    grey, classes = np.full((9, 9), 100, np.uint8), np.zeros((9, 9), np.intp)
    classes[2:7, 2:7] = 1  # LV: #d62728
    plain = overlays._paint(grey, classes, None)
    assert plain[0, 0].tolist() == [100, 100, 100]
    assert plain[4, 4].tolist() == [round(0.45 * 100 + 0.55 * c) for c in (0xD6, 0x27, 0x28)]
    outlined = overlays._paint(grey, np.zeros((9, 9), np.intp), classes)
    assert outlined[4, 6].tolist() == [232, 232, 232]  # 0.15 * 100 + 0.85 * 255
    assert outlined[4, 4].tolist() == [100, 100, 100]


def test_case_overlay_has_a_panel_per_image_and_method(artefacts: Artefacts) -> None:
    overlay = overlays.case_overlay(artefacts, "ct_1001+mr_1004", "best", PARAMS)
    assert list(overlay.planes) == ["axial", "coronal", "sagittal"]
    titles = [panel.title for panel in overlay.planes["axial"]]
    assert titles == ["CT", "MR, registered", "Truth", "CrossModalNet", "MedNeXt", "Atlas baseline"]
