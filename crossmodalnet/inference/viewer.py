"""Make an offline HTML page to scroll through a prediction in three planes (nilearn's viewer)."""

import re
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import nibabel as nib
import numpy as np

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference.preview import MARGIN_MM, centre, grey_window, grid_over
from crossmodalnet.roi.box import Box

WIDTH = 1200
SPACING_MM = 1.0
# A heart with its margin has about 150; larger pages are too slow for browsers.
MAX_VOXELS_PER_AXIS = 256
OPACITY = 0.5
# nilearn's page links an online icon.
_LINK = re.compile(r"<link[^>]*>")

PAGE = Template((Path(__file__).parent / "viewer.html").read_text("utf-8"))


def viewer_page(image: Volume, labels: Volume, modality: Modality, box: Box, *, title: str, note: str) -> str:
    """Make self-contained HTML of an image (CT in HU, or MR) and its label map around the ROI."""
    from matplotlib.colors import ListedColormap
    from nilearn.plotting import view_img

    shown = box.grown(MARGIN_MM)
    grid = grid_over(shown, max(SPACING_MM, max(shown.size_mm) / MAX_VOXELS_PER_AXIS), least=2)
    low, high = grey_window(image, modality)
    image, labels = (volume.around(*shown.ends_mm) for volume in (image, labels))
    grey = np.clip(resample(image, grid, "linear", low).data, low, high)
    classes = resample(labels, grid, "nearest", 0.0).data
    view: Any = view_img(
        _nifti(classes, grid),
        bg_img=_nifti(grey, grid),
        cmap=ListedColormap(["#000000", *(structure.colour for structure in STRUCTURES)]),
        vmin=0,
        vmax=len(STRUCTURES),
        threshold=0.5 if classes.any() else 0.0,  # nilearn requires one that a value reaches
        symmetric_cmap=False,
        resampling_interpolation="nearest",
        cut_coords=tuple(centre(classes, grid, np.mean(shown.ends_mm, axis=0)).tolist()),
        opacity=OPACITY,
        colorbar=False,
        black_bg=True,
        radiological=True,
        width_view=WIDTH,
    )
    legend = "".join(
        f'<li><span style="background: {structure.colour}"></span>{structure.abbreviation}: {structure.name}</li>'
        for structure in STRUCTURES
    )
    inner = _LINK.sub("", view.get_standalone())
    x, y, z = grid.shape  # sagittal, coronal and axial planes side by side, above them the slider
    height = round(WIDTH * max(y, z) / (2 * x + y)) + 100
    frame = f'<iframe srcdoc="{escape(inner)}" width="{WIDTH + 20}" height="{height}" title="three planes"></iframe>'
    return PAGE.substitute(title=escape(title), note=escape(note), legend=legend, view=frame)


def _nifti(data: Any, grid: Grid) -> Any:
    return nib.Nifti1Image(np.asarray(data, np.float32), grid.affine)
