"""A case as the network sees it: images and label on the working grid, and where it came from."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crossmodalnet.data.dataset import LabelledCase
from crossmodalnet.imaging.intensity import Intensity, stack_input
from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.errors import DataError
from pipeline.outputs import write_json
from pipeline.paths import CROPPED

RECORD = "crop.json"


@dataclass(frozen=True)
class CroppedCase:
    """One pair on the working grid.

    Attributes:
        name: of the pair.
        ct: HU.
        mr: registered to the CT, arbitrary units.
        label: class indices of the CT.
        native: grid of the original CT, on which predictions are returned.
    """

    name: str
    ct: Volume
    mr: Volume
    label: Volume
    native: Grid


def write_cropped(folder: Path, case: CroppedCase) -> None:
    """Write a case as three NIfTI files and `crop.json`; the folder is made if need be."""
    write_image(folder / "ct.nii.gz", case.ct)
    write_image(folder / "mr.nii.gz", case.mr)
    write_label_map(folder / "label.nii.gz", case.label)
    write_json(folder / RECORD, {
        "pair": case.name,
        "native_shape": list(case.native.shape),
        "native_affine": case.native.affine.tolist(),
    })  # fmt: skip


def read_cropped(folder: Path) -> CroppedCase:
    """Read a case.

    Raises:
        DataError: a file is missing or damaged.
    """
    try:
        record = json.loads((folder / RECORD).read_text())
        i, j, k = record["native_shape"]
        return CroppedCase(
            record["pair"],
            read_image(folder / "ct.nii.gz"),
            read_image(folder / "mr.nii.gz"),
            read_label_map(folder / "label.nii.gz"),
            Grid((i, j, k), np.array(record["native_affine"], np.float64)),
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} does not hold a cropped case ({error}): run `dvc repro crop`") from error


def labelled(case: CroppedCase, intensity: Intensity) -> LabelledCase:
    """Turn a case into the network's input and its truth.

    Raises:
        DataError: an image has no contrast or is not finite, or nothing is labelled.
    """
    try:
        image = stack_input(case.ct, case.mr, intensity)
    except ValueError as error:
        raise DataError(f"{CROPPED / case.name}: {error}") from error
    if not case.label.data.any():
        raise DataError(f"{CROPPED / case.name}: no labelled voxel in the crop")
    return LabelledCase(case.name, torch.from_numpy(image), torch.from_numpy(case.label.data))
