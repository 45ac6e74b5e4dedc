"""A checked cohort put in order: every image at right angles, its label map on the very same grid, in whole codes."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from crossmodalnet.imaging.codes import whole_values
from crossmodalnet.imaging.nifti import write_codes, write_image
from crossmodalnet.imaging.settle import settled_codes, settled_image
from crossmodalnet.imaging.untrusted import UntrustedImage, read_untrusted
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.cohort.integrity import CaseFiles, CaseReport

logger = logging.getLogger(__name__)


def settle_cases(cases: list[CaseFiles], reports: Mapping[str, CaseReport]) -> None:
    """Write anew the files of those cases that later stages cannot take as they are; others keep their bytes.

    Args:
        cases: sound cases, whose files are ours.
        reports: what the check told, by name of the case.
    """
    for case in cases:
        if case.image and not reports[case.name].is_settled:
            settle_files(case.image, case.label)
            logger.info("%s: written anew on one right-angled grid", case.name)


def settle_files(image: Path, label: Path | None) -> None:
    """Write an image, and a label map that lies on it within the tolerance, on one right-angled grid."""
    volume = volume_of(read_untrusted(image))
    grid = volume.grid
    # Before the image is replaced: its grid is that of the label map.
    codes = None if label is None else whole_codes(read_untrusted(label))
    write_image(image, settled_image(Volume(volume.data.astype(np.float32), volume.affine)))
    if label is not None and codes is not None:
        settled = settled_codes(codes.data, grid)
        write_codes(label, settled.data, settled.affine)


def volume_of(scan: UntrustedImage) -> Volume:
    """Take the voxels of a file that was found sound, a fourth axis of one volume dropped."""
    data = np.asanyarray(scan.image.dataobj)
    return Volume(data[..., 0] if data.ndim == 4 else data, np.asarray(scan.image.affine, np.float64))


def whole_codes(scan: UntrustedImage) -> Volume:
    """Take the values of a label map that was found sound, rounded where a float or a scaling has moved them."""
    volume = volume_of(scan)
    return Volume(whole_values(volume.data).astype(np.int16), volume.affine)


def grid_of(scan: UntrustedImage) -> Grid:
    """Give the grid of a file that was found sound."""
    i, j, k = scan.image.shape[:3]
    return Grid((i, j, k), np.asarray(scan.image.affine, np.float64))
