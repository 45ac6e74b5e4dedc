"""Make an offline HTML page of a prediction: three planes to scroll through, volumes and quality flags."""

import base64
import gzip
import json
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import ImageColor

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.preview import MARGIN_MM, centre, grey_window, greys, grid_over
from crossmodalnet.roi.box import Box

SPACING_MM = 1.0
# A heart with its margin has about 150; larger pages are too slow for browsers.
MAX_VOXELS_PER_AXIS = 256
# Grey levels: noise of more makes the page twice as large.
LEVELS = 64

PAGE = Template((Path(__file__).parent / "viewer.html").read_text("utf-8"))


class View(NamedTuple):
    """A scan (CT in HU, or MR), its label map, and the ROI to show."""

    modality: Modality
    image: Volume
    labels: Volume
    box: Box


def viewer_page(
    views: Sequence[View], volumes: pd.DataFrame, flags: Sequence[str], learnt: Collection[str], title: str, note: str
) -> str:
    """Make self-contained HTML of a patient's scans, `volume_table`, flags, and structures (`learnt`) of the model."""
    content = {
        "views": [_packed(view) for view in views],
        "names": ["", *(structure.name for structure in STRUCTURES)],
        "colours": [(0, 0, 0), *(ImageColor.getrgb(structure.colour) for structure in STRUCTURES)],
    }
    choices = [
        f'<label><input type="radio" name="view"{" checked" * (not number)}>{view.modality.name}</label>'
        for number, view in enumerate(views)
    ]
    listed = "".join(f"<li>{escape(flag)}</li>" for flag in flags)
    return PAGE.substitute(
        title=escape(title),
        note=escape(note),
        flags=f'<h2>Look at this</h2><ul class="flags">{listed}</ul>' if flags else "<p>No quality flags.</p>",
        switch=" ".join(choices),
        table=_volume_html(volumes, learnt),
        views=json.dumps(content, separators=(",", ":")),
    )


def _packed(view: View) -> dict[str, Any]:
    """Resample a scan and its label map to one grid along the world axes."""
    shown = view.box.grown(MARGIN_MM)
    grid = grid_over(shown, max(SPACING_MM, max(shown.size_mm) / MAX_VOXELS_PER_AXIS), least=2)
    window = grey_window(view.image, view.modality)
    image, labels = (volume.around(*shown.ends_mm) for volume in (view.image, view.labels))
    classes = resample(labels, grid, "nearest", 0.0).data.astype(np.uint8)
    middle = grid.to_index(centre(classes, grid, np.mean(shown.ends_mm, axis=0))[:, None])[:, 0]
    levels = (greys(image, grid, window) * (LEVELS - 1)).round() * (255 // (LEVELS - 1))
    voxels = levels.astype(np.uint8).tobytes("F") + classes.tobytes("F")
    return {
        "shape": grid.shape,
        "spacing_mm": grid.spacing_mm[0],
        "origin_mm": grid.affine[:3, 3].tolist(),
        "cross": middle.round().astype(int).tolist(),
        "packed": base64.b64encode(gzip.compress(voxels, mtime=0)).decode(),
    }


def _volume_html(volumes: pd.DataFrame, learnt: Collection[str]) -> str:
    """Tabulate volumes per structure: a column per scan, and the confidence; structures not found are marked."""
    scans = list(volumes["modality"].unique())
    rows = [f"<tr><th></th>{''.join(f'<th>{scan}, mL</th>' for scan in scans)}<th>confidence</th></tr>"]
    for structure in STRUCTURES:
        own = volumes[volumes["structure"] == structure.abbreviation].set_index("modality")
        if own.empty:
            continue
        cells = [f"{volume:.1f}" if volume else "not found" for volume in own["volume_ml"].reindex(scans, fill_value=0)]
        confidence = own["confidence"].max()
        cells.append("" if np.isnan(confidence) else f"{confidence:.2f}")
        found = own["volume_ml"].any()
        state, colour = ("found", structure.colour) if found else ("missing", "none")
        name = f'<td><i style="background: {colour}"></i>{structure.abbreviation}: {structure.name}</td>'
        rows.append(f'<tr class="{state}">{name}{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    others = ", ".join(s.name for s in STRUCTURES if s.abbreviation not in learnt)
    return f"<table>{''.join(rows)}</table>" + (f"<p>Not segmented by this model: {others}.</p>" if others else "")
