"""Displacement fields as files of ANTs: written and read in one place, with arrays in our own world."""

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

# ITK's world is LPS+, ours RAS+; the change is its own inverse.
_FLIP = np.array([-1.0, -1.0, 1.0])


def write_field(path: Path, vectors_mm: NDArray[np.floating], affine: NDArray[np.float64]) -> None:
    """Write a displacement as ANTs does: NIfTI `(i, j, k, 1, 3)`, LPS vectors in mm, float32.

    Args:
        path: NIfTI file.
        vectors_mm: `(i, j, k, 3)`, RAS mm.
        affine: affine of the field's grid.
    """
    image = nib.Nifti1Image((vectors_mm[:, :, :, None] * _FLIP).astype(np.float32), affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def read_field(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Read a displacement that `write_field` or ANTs wrote.

    Returns:
        Field `(i, j, k, 3)`, RAS mm, and the affine of its grid.
    """
    image = nib.load(path)
    vectors = np.asarray(image.dataobj, np.float32)[:, :, :, 0] * _FLIP.astype(np.float32)
    return vectors, np.asarray(image.affine, np.float64)
