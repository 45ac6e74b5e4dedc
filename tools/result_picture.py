"""Draw docs/result.png, the README's picture, from the artefacts of the last run: `make picture`."""

from PIL import Image, ImageDraw, ImageFont

from pipeline.report.artefacts import gather
from pipeline.report.overlays import case_overlays
from pipeline.runtime.paths import TOP

PLANES = ("axial", "coronal")
GAP, TITLE = 6, 22


def main() -> None:
    """Put the panels of the best test case side by side, one plane a row, their titles above."""
    best = case_overlays(gather())[0]
    rows = [best.planes[plane] for plane in PLANES]
    heights = [next(iter(panels.values())).shape[0] + GAP for panels in rows]
    width = sum(picture.shape[1] + GAP for picture in rows[0].values()) - GAP
    sheet = Image.new("RGB", (width, TITLE + sum(heights)), "white")
    draw, y = ImageDraw.Draw(sheet), TITLE
    for panels, height in zip(rows, heights, strict=True):
        x = 0
        for (title, picture), first in zip(panels.items(), rows[0].values(), strict=True):
            if y == TITLE:
                draw.text((x + 2, 3), title, fill="#1c2733", font=ImageFont.load_default(15))
            sheet.paste(Image.fromarray(picture).resize((first.shape[1], height - GAP)), (x, y))
            x += first.shape[1] + GAP
        y += height
    sheet.save(TOP / "docs" / "result.png", optimize=True)


if __name__ == "__main__":
    main()
