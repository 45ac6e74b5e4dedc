"""Search every translation and many rotations for the highest mutual information.

FFT correlations of grey levels give the joint histograms at all translations (Oefverstedt, Lindblad and Sladoje 2022).
So neither the distance of two hearts nor a truncated field of view matters.
"""

from itertools import product
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.resample import coarsen
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.ants import linear, similarity, write_affine

_SPACING_MM = 10.0
# Grey levels. With six for the CT, fat, muscle and blood shared levels, and 2 of 17 distant pairs failed.
_FIXED_LEVELS, _MOVING_LEVELS = 10, 6
# The registration that follows can rotate by half as much.
_TURN_DEGREES = 22.0
# Share of the smaller image that must lie within the other one.
_LEAST_OVERLAP = 0.4
# Nats; less is rounding error.
_LEAST_INFORMATION = 1e-3
_RIGID_SPACING_MM = 5.0
_RIGID_ITERATIONS = (0, 60, 30)


def best_rigid(fixed: Volume, moving: Volume, num_candidates: int, folder: Path) -> Path | None:
    """Refine the best few candidates rigidly; return the file of the map with the most mutual information, if any."""
    coarse = [coarsen(image, max(_RIGID_SPACING_MM, *image.spacing_mm)) for image in (fixed, moving)]
    scores: dict[Path, float] = {}
    for number, matrix in enumerate(best_candidates(fixed, moving, num_candidates)):
        start = folder / f"candidate{number}.mat"
        write_affine(matrix, start)
        # The prefix ends in a letter: ANTsPy would confuse the files of rigid1 and rigid10.
        rigid = linear("Rigid", coarse[0], coarse[1], _RIGID_ITERATIONS, start, folder / f"rigid{number}x")
        for path in (start, rigid):
            scores[path] = similarity(coarse[0], coarse[1], [path])
    return max(scores, key=scores.__getitem__) if scores else None


def best_candidates(
    fixed: Volume, moving: Volume, num_candidates: int, spacing_mm: float = _SPACING_MM
) -> list[NDArray[np.float64]]:
    """Find the rigid maps of highest mutual information, best first: 4x4, RAS mm, fixed to moving image's world.

    The score is the mutual information in the overlap, nats, times the overlap's share of the smaller image: few voxels
    easily share much. Of neighbouring translations with the same rotation only the best counts.
    """
    fixed, moving = coarsen(fixed, spacing_mm), coarsen(moving, spacing_mm)
    fixed_middle, moving_middle = _middle(fixed), _middle(moving)
    still, still_low = _view(fixed, np.eye(3), fixed_middle, _FIXED_LEVELS, spacing_mm)
    turns = _rotations()
    views = [_view(moving, turn, moving_middle, _MOVING_LEVELS, spacing_mm) for turn in turns]
    # As large as both images side by side, so that nothing wraps around.
    size = [
        fft.next_fast_len(n + max(levels.shape[1 + axis] for levels, _ in views) - 1, real=True)
        for axis, n in enumerate(still.shape[1:])
    ]
    spectrum = fft.rfftn(still, size, axes=(1, 2, 3))
    smaller = float(min(still.sum(), views[0][0].sum()))
    candidates: list[tuple[float, NDArray[np.float64]]] = []
    for turn, (levels, low) in zip(turns, views, strict=True):
        scores = _scores(spectrum, levels, size, smaller)
        peaks = (scores == ndimage.maximum_filter(scores, 5, mode="wrap")) & (scores > _LEAST_INFORMATION)
        for place in np.argwhere(peaks):
            shift = np.where(place < still.shape[1:], place, place - size)
            offset = low - still_low - shift * spacing_mm
            matrix = np.eye(4)
            matrix[:3, :3] = turn
            matrix[:3, 3] = moving_middle + turn @ (offset - fixed_middle)
            candidates.append((float(scores[tuple(place)]), matrix))
    candidates.sort(key=itemgetter(0), reverse=True)
    return [matrix for _, matrix in candidates[:num_candidates]]


def _scores(
    spectrum: NDArray[np.complex64], levels: NDArray[np.float32], size: list[int], smaller: float
) -> NDArray[np.float32]:
    """Score every translation: mutual information times overlap; 0 below an overlap of `_LEAST_OVERLAP`."""
    other = np.conj(fft.rfftn(levels, size, axes=(1, 2, 3)))
    share = np.minimum(fft.irfftn(spectrum.sum(axis=0) * other.sum(axis=0), size) / smaller, 1)
    seen = share >= _LEAST_OVERLAP  # only these translations are worth a histogram
    joint = np.stack([fft.irfftn(level * other, size, axes=(1, 2, 3))[:, seen] for level in spectrum])
    joint = np.maximum(joint, 0)  # (levels, levels, translations seen)
    joint /= joint.sum(axis=(0, 1))
    entropies = (
        _entropy(joint.sum(axis=1))
        + _entropy(joint.sum(axis=0))
        - _entropy(joint.reshape(joint.shape[0] * joint.shape[1], -1))
    )
    information = np.zeros(size, np.float32)
    information[seen] = share[seen] * entropies
    return information


def _entropy(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(-(shares * np.log(shares + 1e-9)).sum(axis=0))


def _view(
    image: Volume, turn: NDArray[np.float64], middle: NDArray[np.float64], num_levels: int, spacing_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Sample a rotated image; give its grey levels `(levels, i, j, k)`, 0 or 1, and the first voxel's place, mm."""
    places = turn.T @ (image.grid.to_world(image.grid.corners(0.5)) - middle[:, None])
    low, high = places.min(axis=1), places.max(axis=1)
    shape = np.maximum(np.ceil((high - low) / spacing_mm - 1e-6).astype(int), 1)
    low = (low + high) / 2 - spacing_mm * (shape - 1) / 2
    points = np.indices(shape).reshape(3, -1) * spacing_mm + low[:, None]
    index = image.grid.to_index(turn @ points + middle[:, None])
    inside = ((index > -0.5) & (index < np.array(image.data.shape)[:, None] - 0.5)).all(axis=0)
    values = ndimage.map_coordinates(image.data, index, order=1, mode="nearest")
    level = np.clip((values * num_levels).astype(int), 0, num_levels - 1)
    levels = np.stack([(level == number) & inside for number in range(num_levels)])
    return levels.reshape(num_levels, *shape).astype(np.float32), low


def _rotations() -> list[NDArray[np.float64]]:
    """List the identity and rotations about each axis and cube diagonal, both directions."""
    axes = [np.array(way, float) for way in product((-1, 0, 1), repeat=3) if np.abs(way).sum() in (1, 3)]
    angle = np.deg2rad(_TURN_DEGREES)
    turns = [Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix() for axis in axes]
    return [np.eye(3), *turns]


def _middle(image: Volume) -> NDArray[np.float64]:
    """Compute the centre of the grid, `(3,)` in RAS mm."""
    return image.grid.to_world((np.array(image.data.shape)[:, None] - 1) / 2)[:, 0]
