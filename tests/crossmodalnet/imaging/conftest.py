"""Small scans written in every format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from crossmodalnet.imaging.untrusted import kept_locale
from crossmodalnet.imaging.volume import Grid

WriteSeries = Callable[..., Path]


@pytest.fixture(scope="session")
def ramp() -> Callable[[Grid], NDArray[np.float32]]:
    """Values x + 2y - z in the world at every voxel: linear, so linear interpolation is exact."""

    def values(grid: Grid) -> NDArray[np.float32]:
        x, y, z = grid.to_world(np.indices(grid.shape).reshape(3, -1))
        return np.asarray((x + 2 * y - z).reshape(grid.shape), np.float32)

    return values


@pytest.fixture
def image() -> sitk.Image:
    """8 x 7 x 6 voxels with values of their own, in an oblique grid."""
    found = sitk.GetImageFromArray(np.arange(8 * 7 * 6, dtype=np.int16).reshape(6, 7, 8) - 100)
    found.SetSpacing((0.5, 0.75, 2.0))
    found.SetOrigin((10.0, -20.0, 30.0))
    found.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    return found


@pytest.fixture
def written(image: sitk.Image, tmp_path: Path) -> Callable[..., Path]:
    """Write the image, or another, under a name: `written("a.mhd", packed=True)`."""

    def write(name: str, image: sitk.Image = image, *, packed: bool = False) -> Path:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        sitk.WriteImage(image, str(tmp_path / name), packed)
        return tmp_path / name

    return write


@kept_locale()  # the writer too sets it to C
def write_series(folder: Path, image: Any, series="1", leave_out=-1, shift_mm=0.0, **more: str) -> Path:
    """Write a file per slice, names in no order of place; `more` are tags by their eight digits."""
    folder.mkdir(exist_ok=True)
    x_mm, y_mm, _ = image.GetSpacing()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = image.GetDirection()
    for k in (k for k in range(image.GetDepth()) if k != leave_out):
        piece = image[:, :, k]
        # A tilted gantry shifts each slice along its columns.
        shift = shift_mm * k * np.array(direction)[[1, 4, 7]]
        place = image.TransformIndexToPhysicalPoint((0, 0, k)) + shift
        tags = {
            "0008|0060": "CT", "0020|000e": f"1.2.3.{series}", "0020|000d": "1.2.3", "0008|0018": f"1.2.3.{series}.{k}",
            "0020|0032": "\\".join(f"{value:g}" for value in place), "0020|0013": str(k),
            "0028|0030": f"{y_mm:g}\\{x_mm:g}",
            "0020|0037": "\\".join(f"{direction[i]:g}" for i in (0, 3, 6, 1, 4, 7)),
        }  # fmt: skip
        for tag, value in (tags | {f"{key[1:5]}|{key[5:]}": value for key, value in more.items()}).items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"s{series}_{(k * 5) % 97}.dcm"))
        writer.Execute(piece)
    return folder


@pytest.fixture
def series(image: sitk.Image, tmp_path: Path) -> WriteSeries:
    """Write a DICOM series of the image, or another: `series(leave_out=2, t0008103e="a description")`."""
    return lambda *others, **options: write_series(tmp_path / "scan", *(others or [image]), **options)
