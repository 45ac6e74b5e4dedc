"""Measure the extent of the training hearts and the voxel spacing of their scans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_label_map
from crossmodalnet.io.console import track
from crossmodalnet.roi.box import Box, box_of
from pipeline.cohort.pairs import Pair
from pipeline.runtime.workers import CaseCost, RuntimeConfig, Work, count_voxels, run_cases

COST = CaseCost(base_mb=250, bytes_per_voxel=8)
# Total voxels up to which label maps are read without worker processes.
FEW_VOXELS = 2**26
# Extra share of the grid while ROIs are unknown: on the phantom they lay 6.5 mm off-centre in hearts of 130 mm.
ASIDE = 0.15


@dataclass(frozen=True)
class HeartExtents:
    """Extents that the working grid must hold."""

    need_mm: tuple[float, float, float]  # grid extent along world x, y, z that holds every heart
    largest_mm: tuple[float, float, float]
    spacing_mm: float  # median over scans of the cube root of the voxel volume
    num_hearts: int
    num_found: int  # hearts with a ROI from stage `crop`; 0 before it has run
    largest_voxels: int  # of the largest image

    @property
    def why(self) -> str:
        """Describe the extents in one sentence."""
        largest, need = (" x ".join(f"{edge:.0f}" for edge in edges) for edges in (self.largest_mm, self.need_mm))
        how = f"{ASIDE:.0%} more, as the ROIs that atlases find are not centred on the hearts"
        if self.num_found:
            how = f"by the ROIs that stage crop found for {self.num_found} of them"
        return f"{self.num_hearts} training hearts of up to {largest} mm need {need} mm: {how}"


def measure_hearts(
    pairs: Sequence[Pair], boxes: Mapping[str, Box], margin_mm: float, runtime: RuntimeConfig
) -> HeartExtents:
    """Measure the CTs of all pairs except test pairs.

    Args:
        boxes: ROIs from stage `crop` by pair name; used only if every pair has one.
        margin_mm: extra margin per side if the ROIs are unknown.

    Raises:
        DataError: a label map is missing, unreadable or empty.
    """
    used = [pair for pair in pairs if pair.role != "test"]
    labels = sorted({pair.ct.label for pair in used if pair.ct.label})
    hearts = dict(_boxes(labels, runtime))
    largest = np.array([box.size_mm for box in hearts.values()]).max(axis=0)
    # Voxels across the edge of a grid count as cut: add 1 mm per side.
    need = np.maximum(largest * (1 + ASIDE), largest + 2 * margin_mm)
    found = [(hearts[pair.ct.label], boxes[pair.name]) for pair in used if pair.name in boxes and pair.ct.label]
    if len(found) == len(used):
        need = np.array([_around(heart, box) for heart, box in found]).max(axis=0) + 2.0
    images = [subject.image for pair in used for subject in (pair.ct, pair.mr)]
    spacings = [float(np.prod(nib.load(path).header.get_zooms()[:3]) ** (1 / 3)) for path in images]
    return HeartExtents(
        need_mm=_triple(need),
        largest_mm=_triple(largest),
        spacing_mm=float(np.median(spacings)),
        num_hearts=len(hearts),
        num_found=len(found) if len(found) == len(used) else 0,
        largest_voxels=max(map(count_voxels, images)),
    )


def read_boxes(table: Path) -> dict[str, Box]:
    """Read the ROIs of stage `crop` by pair name; return none before it has run."""
    if not table.is_file():
        return {}
    try:
        rows = pd.read_csv(table)
        return {str(row.pair): _read_box(str(row.box_mm)) for row in rows.itertuples()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{table} is not what stage crop writes ({error}): run `dvc repro -f crop`") from error


def heart_of(label: Path) -> Box:
    """Return the bounding box of a label map; raise DataError if it is unreadable or empty."""
    try:
        return box_of(read_label_map(label))
    except ValueError as error:
        raise DataError(f"{label}: {error}") from error


def _boxes(labels: Sequence[Path], runtime: RuntimeConfig) -> list[tuple[Path, Box]]:
    if sum(map(count_voxels, labels)) < FEW_VOXELS:
        return [(label, heart_of(label)) for label in labels]
    work = Work("measure", COST, labels)
    return list(track(run_cases(heart_of, labels, work, runtime), "measure", len(labels)))


def _around(heart: Box, box: Box) -> np.typing.NDArray[np.float64]:
    """Return the edge lengths `(3,)` of a grid centred on a ROI that holds the heart."""
    middle = (np.array(box.low_mm) + box.high_mm) / 2
    return 2 * np.maximum(middle - heart.low_mm, heart.high_mm - middle)


def _read_box(text: str) -> Box:
    low, high = (tuple(float(edge) for edge in corner.split()) for corner in text.split(" : "))
    (a, b, c), (x, y, z) = low, high
    return Box((a, b, c), (x, y, z))


def _triple(edges: np.typing.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(edge) for edge in edges)
    return x, y, z
