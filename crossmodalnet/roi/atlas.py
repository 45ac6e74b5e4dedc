"""Make, save and load atlases: coarse labelled subjects that locate the heart ROI of other subjects."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from crossmodalnet.imaging.resample import coarsen
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.ants import prepare

PARTS = ("image", "heart")
# An atlas of a whole chest at 5 mm has 4 MB.
MAX_BYTES = 2**30


@dataclass(frozen=True)
class Atlas:
    """A coarse subject: prepared image and the heart's share of each voxel, 0 to 1, on grids of their own."""

    image: Volume
    heart: Volume


def make_atlas(image: Volume, label: Volume, modality: Modality, spacing_mm: float) -> Atlas:
    """Coarsen an image (CT in HU, or MR) and the union of its structures, labelled on any grid of the same world."""
    heart = Volume((label.data > 0).astype(np.float32), label.affine)
    return Atlas(prepare(image, modality, spacing_mm), coarsen(heart, spacing_mm))


def save_atlases(path: str | os.PathLike[str], atlases: Sequence[Atlas]) -> None:
    """Write atlases to one file without loss: voxels as float32, affines as float64."""
    tensors = {}
    for number, atlas in enumerate(atlases):
        for part in PARTS:
            volume: Volume = getattr(atlas, part)
            tensors[f"{number}.{part}"] = np.ascontiguousarray(volume.data, np.float32)
            tensors[f"{number}.{part}.affine"] = np.ascontiguousarray(volume.affine, np.float64)
    save_file(tensors, path)
    Path(path).chmod(0o644)  # safetensors makes files readable by the owner only


def load_atlases(path: str | os.PathLike[str]) -> list[Atlas]:
    """Read the atlases that `save_atlases` wrote; FileNotFoundError, or ValueError, which names a damaged file."""
    if (size := Path(path).stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path} holds no atlases: {size} bytes, at most {MAX_BYTES} are read")
    try:
        tensors = load_file(path)
        numbers = range(len(tensors) // (2 * len(PARTS)))
        atlases = [Atlas(*(_volume(tensors, f"{number}.{part}") for part in PARTS)) for number in numbers]
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        raise ValueError(f"{path} holds no atlases: {error}") from error
    if not atlases or len(tensors) != 2 * len(PARTS) * len(atlases):
        raise ValueError(f"{path} holds no atlases: it has {len(tensors)} tensors")
    return atlases


def _volume(tensors: Mapping[str, NDArray[Any]], name: str) -> Volume:
    data, affine = tensors[name], tensors[f"{name}.affine"]
    if data.ndim != 3 or data.dtype != np.float32 or not data.size:
        raise ValueError(f"{name} must be float32 with three axes, got {data.dtype} of shape {data.shape}")
    if affine.dtype != np.float64 or affine.shape != (4, 4):
        raise ValueError(f"{name}.affine must be float64 4 x 4, got {affine.dtype} of shape {affine.shape}")
    if not np.isfinite(data).all() or not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
        raise ValueError(f"{name} must be finite with an affine that can be inverted")
    return Volume(data, affine)
