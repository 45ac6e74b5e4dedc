"""Draw docs/result.png, the README's picture, from the artefacts of the last run: `make picture`."""

import base64
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from pipeline.config.sections import ReportConfig
from pipeline.report.artefacts.gather import gather_run
from pipeline.report.charts.overlays import Panel, case_overlay, rank_cases
from pipeline.runtime.paths import TOP

PLANES = ("axial", "coronal")
GAP, TITLE = 6, 22


def main() -> None:
    """Put the panels of the best test case side by side, one plane a row, their titles above."""
    artefacts = gather_run()
    pair, rank = next(iter(rank_cases(artefacts.results[0]).items()))
    overlay = case_overlay(artefacts, pair, rank, ReportConfig())
    rows = [overlay.planes[plane] for plane in PLANES]
    width = sum(panel.width + GAP for panel in rows[0]) - GAP
    sheet = Image.new("RGB", (width, TITLE + sum(row[0].height + GAP for row in rows)), "white")
    draw, y = ImageDraw.Draw(sheet), TITLE
    for number, row in enumerate(rows):
        x = 0
        for panel in row:
            if number == 0:
                draw.text((x + 2, 3), panel.title, fill="#1c2733", font=ImageFont.load_default(15))
            sheet.paste(_picture(panel).resize((panel.width, row[0].height)), (x, y))
            x += panel.width + GAP
        y += row[0].height + GAP
    sheet.save(TOP / "docs" / "result.png", optimize=True)


def _picture(panel: Panel) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(panel.source.partition(",")[2])))


if __name__ == "__main__":
    main()
