import io
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.viewer import viewer_page
from crossmodalnet.roi.box import Box


def screenshot(browser: Browser, page: Path) -> tuple[np.ndarray, list[str]]:
    """Give what a window of 1300 x 950 shows, and what the page asks the network for."""
    asked: list[str] = []
    window = browser.new_page(viewport={"width": 1300, "height": 950})
    window.on("request", lambda request: asked.append(request.url))
    window.goto(page.as_uri())
    window.frame_locator("iframe").locator("canvas").first.wait_for()
    window.wait_for_timeout(500)
    shown = Image.open(io.BytesIO(window.screenshot()))
    return np.asarray(shown.convert("RGB"), np.int64), asked


def test_structures_lie_on_their_sides_and_nothing_is_loaded(browser: Browser, tmp_path: Path) -> None:
    # The world is RAS: x runs to the patient's right, where the right atrium lies.
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[8:24, 20:40, 20:40], labels[36:52, 20:40, 20:40] = 1, 4
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -59
    image = Volume(np.full(labels.shape, -150, np.float32), affine)
    box = Box((-40.0, -20.0, -20.0), (44.0, 20.0, 20.0))
    page = tmp_path / "page.html"
    content = viewer_page(image, Volume(labels, affine), Modality.CT, box, title="p: CT", note="note")
    page.write_text(content, "utf-8")
    shown, asked = screenshot(browser, page)
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:", "blob:"))] == []
    red, green, blue = (shown[200:600, 800:1220, channel] for channel in range(3))  # the axial plane
    atrium = (blue > red + 40) & (green > red + 40)  # cyan
    ventricle = (red > blue + 40) & (red > green + 40)
    columns = [np.nonzero(mask)[1] for mask in (atrium, ventricle)]
    assert min(map(len, columns)) > 1000
    assert columns[0].mean() < columns[1].mean() - 100  # radiological: the patient's right on the left
