"""All panels of a test case in one picture, for `dvc plots diff` and whoever wants a file."""

from PIL import Image, ImageDraw

from pipeline.report.charts.overlays import CaseOverlay

GAP_PX = 6
LINE_PX = 16
PAPER, INK = (255, 255, 255), (40, 40, 40)


def mosaic(overlay: CaseOverlay) -> Image.Image:
    """Lay out the panels of a case: a row per plane, a column per image or method with its title above.

    Args:
        overlay: all of its planes have the same columns.

    Returns:
        RGB picture; the pair's name and the mean Dice of each method are in its first lines.
    """
    planes = list(overlay.planes.values())
    widths = [max(panels[column].width for panels in planes) for column in range(len(planes[0]))]
    heights = [max(panel.height for panel in panels) for panels in planes]
    lines = [overlay.pair, *(f"{title}: Dice {dice:.3f}" for title, dice in overlay.dice.items())]
    top = LINE_PX * (len(lines) + 1) + GAP_PX
    size = sum(widths) + GAP_PX * (len(widths) + 1), top + sum(heights) + GAP_PX * (len(heights) + 1)
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((GAP_PX, LINE_PX * number + 2), line, INK)
    y = top
    for row, panels in enumerate(planes):
        x = GAP_PX
        for panel, width in zip(panels, widths, strict=True):
            if row == 0:
                draw.text((x, top - LINE_PX), panel.title, INK)
            picture.paste(Image.fromarray(panel.picture), (x, y))
            x += width + GAP_PX
        y += heights[row] + GAP_PX
    return picture
