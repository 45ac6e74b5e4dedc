"""How many cases fit beside each other: cores, and memory by the largest image."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import nibabel as nib
from nibabel.filebasedimages import ImageFileError

MB, GB = 2**20, 2**30
# Of the free memory; the rest is for what else runs.
SHARE = 0.9


@dataclass(frozen=True)
class CaseCost:
    """Peak memory of a worker: measured on images of two sizes (docs/clusters.md has the figures).

    Attributes:
        base_mb: interpreter, libraries and what does not grow with the image, MiB.
        bytes_per_voxel: what an image adds, per voxel of the largest one of a case.
    """

    base_mb: float
    bytes_per_voxel: float = 0.0

    def bytes(self, num_voxels: int) -> int:
        """Peak memory of a worker whose largest image has so many voxels."""
        return int(self.base_mb * MB + self.bytes_per_voxel * num_voxels)


@dataclass(frozen=True)
class Plan:
    """How many workers there are, and why.

    Attributes:
        workers: workers at once, 1 or more.
        why: reason, for the log.
    """

    workers: int
    why: str


def plan_workers(
    requested: int, num_cases: int, case_bytes: int, *, cores: int, free_bytes: int, largest: str = ""
) -> Plan:
    """Choose the number of workers.

    Args:
        requested: `runtime.workers`; 0 leaves it to cores and memory.
        num_cases: cases to compute; more workers would have nothing to do.
        case_bytes: memory of a worker with the largest case.
        cores: cores that this process may use.
        free_bytes: memory that can be had.
        largest: shape of the largest image in words, where images decide.

    >>> plan_workers(0, 20, 3 * GB, cores=8, free_bytes=16 * GB, largest="512 x 512 x 250").why
    '4 of 8 cores, since a case takes up to 3.0 GB by its largest image (512 x 512 x 250) and 16.0 GB are free'
    """
    fitting = int(SHARE * free_bytes / case_bytes)
    by_image = f" by its largest image ({largest})" if largest else ""
    memory = f"a case takes up to {case_bytes / GB:.1f} GB{by_image}"
    free = f"{free_bytes / GB:.1f} GB are free"
    if requested:
        fits = "" if requested <= max(1, fitting) else f"; too little for so many: {memory} and {free}"
        return Plan(max(1, min(requested, num_cases)), f"runtime.workers = {requested}{fits}")
    if fitting < 1:
        return Plan(1, f"too little memory even for one: {memory} and {free}")
    workers = max(1, min(cores, fitting, num_cases))
    if fitting < min(cores, num_cases):
        return Plan(workers, f"{workers} of {cores} cores, since {memory} and {free}")
    return Plan(workers, f"{workers} of {cores} cores; {memory}, {free}")


def largest_image(paths: Iterable[Path]) -> tuple[int, str]:
    """Give the number of voxels of the largest image and its shape in words, by headers alone.

    What has no readable header here (other formats, folders of slices, damaged files) counts a voxel per byte, as
    16-bit images that are compressed to a half have.
    """
    sizes = [(prod(shape), " x ".join(map(str, shape))) for path in paths for shape in [_shape(path)]]
    return max(sizes, default=(0, ""))


def _shape(path: Path) -> tuple[int, ...]:
    try:
        if path.is_file() and path.name.endswith((".nii", ".nii.gz")):
            return tuple(int(n) for n in nib.load(path).shape)
        files = path.iterdir() if path.is_dir() else (path,)
        return (sum(file.stat().st_size for file in files),)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError):
        return (0,)
