"""Small scans written in every format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from crossmodalnet.imaging.untrusted import kept_locale

WriteSeries = Callable[..., Path]


@pytest.fixture
def image() -> sitk.Image:
    """8 x 7 x 6 voxels with values of their own, in an oblique grid."""
    found = sitk.GetImageFromArray(np.arange(8 * 7 * 6, dtype=np.int16).reshape(6, 7, 8) - 100)
    found.SetSpacing((0.5, 0.75, 2.0))
    found.SetOrigin((10.0, -20.0, 30.0))
    found.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    return found


@kept_locale()  # the writer too sets it to C
def write_series(
    folder: Path,
    image: sitk.Image,
    series: str = "1",
    leave_out: int = -1,
    shift_mm: float = 0.0,
    **more: str,
) -> Path:
    """Write a file per slice, names in no order of place; `more` are tags by their eight digits."""
    folder.mkdir(exist_ok=True, parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = image.GetDirection()
    for k in range(image.GetDepth()):
        if k == leave_out:
            continue
        piece = image[:, :, k]
        # A tilted gantry shifts each slice along its columns.
        place = np.add(
            image.TransformIndexToPhysicalPoint((0, 0, k)), [shift_mm * k * direction[i] for i in (1, 4, 7)]
        )
        tags = {
            "0008|0060": "CT", "0020|000e": f"1.2.3.{series}", "0020|000d": "1.2.3", "0008|0018": f"1.2.3.{series}.{k}",
            "0020|0032": "\\".join(f"{value:g}" for value in place), "0020|0013": str(k), "0028|0030": "0.75\\0.5",
            "0020|0037": "\\".join(f"{direction[i]:g}" for i in (0, 3, 6, 1, 4, 7)),
        }  # fmt: skip
        for tag, value in (tags | {f"{key[1:5]}|{key[5:]}": value for key, value in more.items()}).items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"s{series}_{(k * 5) % 7}.dcm"))
        writer.Execute(piece)
    return folder


@pytest.fixture
def series() -> WriteSeries:
    """Write a DICOM series, for instance `series(folder, image, leave_out=2, t0008103e="a description")`."""
    return write_series
