import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageColor
from playwright.sync_api import Browser

from crossmodalnet.imaging.structures import ABBREVIATIONS, STRUCTURES, Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.viewer import View, viewer_page
from crossmodalnet.roi.box import Box


def centres(picture: bytes) -> dict[str, tuple[float, float]]:
    """Give the mean column and row of each structure's pixels, of opaque colours."""
    shown = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), int)
    found = {}
    for structure in STRUCTURES:
        mask = abs(shown - ImageColor.getrgb(structure.colour)).sum(axis=-1) < 12
        if mask.sum() > 1000:
            rows, columns = np.nonzero(mask)
            found[structure.abbreviation] = (columns.mean(), rows.mean())
    return found


def test_planes_are_radiological_and_nothing_is_loaded(browser: Browser, tmp_path: Path) -> None:
    # The world is RAS: x runs to the patient's right, y to the front, z to the head.
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[8:24, 20:40, 20:40], labels[36:52, 20:40, 20:40] = 1, 4
    labels[8:52, 42:52, 20:40], labels[8:52, 8:18, 20:40], labels[8:52, 8:52, 42:50] = 2, 3, 6
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -59
    volume, box = Volume(labels, affine), Box((-40.0, -40.0, -40.0), (44.0, 44.0, 40.0))
    image = Volume(np.linspace(-150, 450, labels.size, dtype=np.float32).reshape(labels.shape), affine)
    views = [View(Modality.CT, image, volume, box), View(Modality.MR, image, volume, box)]
    table = pd.DataFrame({"modality": ["CT"], "structure": ["LV"], "volume_ml": [1.0], "confidence": [0.9]})
    page = tmp_path / "page.html"
    page.write_text(viewer_page(views, table, [], learnt=ABBREVIATIONS, title="p", note="note"), "utf-8")
    asked: list[str] = []
    window = browser.new_page(viewport={"width": 1300, "height": 950})
    window.on("request", lambda request: asked.append(request.url))
    window.goto(page.as_uri())
    window.wait_for_function("document.getElementById('place').textContent")
    window.locator("#opacity").fill("1")
    for number in range(2):
        window.locator("input[name=view]").nth(number).check()
        axial, coronal, sagittal = (centres(window.locator("canvas").nth(plane).screenshot()) for plane in range(3))
        assert axial["RA"][0] < axial["LV"][0] - 100
        assert axial["RV"][1] < axial["LA"][1] - 100
        assert coronal["RA"][0] < coronal["LV"][0] - 100
        assert coronal["AO"][1] < coronal["LV"][1] - 50
        assert sagittal["RV"][0] < sagittal["LA"][0] - 100  # the front is on the left
        assert sagittal["AO"][1] < sagittal["RV"][1] - 50
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:", "blob:"))] == []
