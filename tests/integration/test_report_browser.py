"""The page in a real browser: no errors, no network, on a screen and on a phone."""

import runpy
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from pipeline.report.artefacts import gather
from pipeline.report.page import SECTIONS, write_page

FAKE = Path(__file__).parents[1] / "pipeline/report/fake_artefacts.py"
MODELS = ("crossmodalnet", "vtunet", "swin_unet", "swin_unetr", "nnformer", "mednext", "resenc_unet")
ABLATIONS = ("no_cross", "no_deformable", "ct_only", "mr_only", "standard_residual", "values_a", "cosine")
SEEDS = (0, 1)
# Elements that stick out of the page, other than in boxes made to be scrolled.
OVERFLOWING = """() => [...document.querySelectorAll("body *")].filter(element => {
  const box = element.getBoundingClientRect();
  const scrolled = element.closest(".scroll, pre, nav ol, .skip, .hidden");
  const outside = box.right > document.documentElement.clientWidth + 1 || box.left < -1;
  return outside && !scrolled && box.width > 0;
}).map(element => element.outerHTML.slice(0, 120))"""
TEXTS = "h1, h2, h3, h4, .tag, dt, dd, .value, .gain, .panel span, nav a, summary"
CLIPPED = """(texts) => [...document.querySelectorAll(texts)]
  .filter(element => element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1)
  .map(element => element.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    runpy.run_path(str(FAKE))["make_artefacts"](folder, models=MODELS, ablations=ABLATIONS, seeds=SEEDS)
    return write_page(folder / "report", gather(folder))


@pytest.fixture(scope="module", params=[1280, 420], ids=["screen", "phone"])
def opened(request, browser: Browser, report: Path) -> Iterator[tuple[Page, list[str]]]:
    """The page, opened once for all tests, and what goes wrong while it is: an error, a file asked for."""
    opened = browser.new_page(viewport={"width": request.param, "height": 900})
    troubles: list[str] = []

    def only_the_file(route: Any) -> None:
        if route.request.url == report.as_uri():
            route.continue_()
        else:
            troubles.append(f"asked for {route.request.url[:100]}")
            route.abort()

    opened.route("**/*", only_the_file)
    opened.on("console", lambda said: said.type in ("error", "warning") and troubles.append(said.text))
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.goto(report.as_uri(), wait_until="load")
    yield opened, troubles
    opened.close()


@pytest.fixture
def page(opened: tuple[Page, list[str]]) -> Iterator[Page]:
    """The page as it opens, all details closed; what goes wrong on it fails the test."""
    found, troubles = opened
    found.evaluate("document.querySelectorAll('details').forEach(element => element.open = false)")
    found.evaluate("window.scrollTo(0, 0); history.replaceState(null, '', ' ')")
    yield found
    assert troubles == []


def test_every_picture_is_drawn(page: Page) -> None:
    sizes = page.evaluate("[...document.images].map(image => [image.complete, image.naturalWidth])")
    assert len(sizes) > 60
    assert all(complete and width > 0 for complete, width in sizes)


def test_sections_are_there_and_seen(page: Page) -> None:
    for name in (key for key, *_ in SECTIONS if key != "adaptation"):
        assert page.locator(f"section#{name} > h2").bounding_box()["height"] > 10


def test_nothing_sticks_out_or_is_cut(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(CLIPPED, TEXTS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_no_column_is_cut_at_1200_pixels(page: Page) -> None:
    size = page.viewport_size
    if not size or size["width"] < 1200:
        pytest.skip("a phone scrolls its tables")
    page.set_viewport_size({**size, "width": 1200})
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    assert page.evaluate(CLIPPED, ".scroll, pre") == []
    page.set_viewport_size(size)


def test_text_does_not_overlap(page: Page) -> None:
    boxes = page.evaluate(
        "[...document.querySelectorAll('main > section > *')]"
        ".map(element => element.getBoundingClientRect()).map(box => [box.top, box.bottom])"
    )
    assert len(boxes) > 30
    assert all(below[0] >= above[1] - 1 for above, below in pairwise(boxes))


def test_checkerboards_open_without_a_script(page: Page) -> None:
    picture = page.locator("#registration details img").first
    assert not picture.is_visible()
    page.locator("#registration summary").click()
    assert picture.is_visible()


def test_number_of_a_statement_opens_its_details(page: Page) -> None:
    details = page.locator("#claim-theorem_2_4")
    page.locator("#claims summary").first.click()
    assert not details.is_visible()
    page.locator("#claims a[href='#claim-theorem_2_4']").click()
    details.wait_for(state="visible")


def test_it_can_be_photographed(page: Page, tmp_path: Path) -> None:
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as image:
        seen = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=1 << 24)}
    assert {(0x1D, 0x4E, 0x89), (0xD6, 0x27, 0x28), (0x2C, 0xA0, 0x2C)} <= seen
