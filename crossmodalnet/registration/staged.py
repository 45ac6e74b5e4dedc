"""Register in stages: exhaustive search, rigid, affine, then diffeomorphic over the shared view; no label is used."""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodalnet.imaging.geometry import WORLD, reoriented_grid
from crossmodalnet.imaging.resample import coarsen, sample_image
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.processes import plain_folder
from crossmodalnet.registration.ants import (
    Transform,
    linear,
    prepare_ct,
    prepare_mr,
    read_affine,
    similarity,
    turned_back,
    write_field,
)
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.diffeomorphic import Lattice, Scene, deform, lattice_over, sample
from crossmodalnet.registration.exhaustive import best_rigid
from crossmodalnet.registration.mapping import map_image, map_labels, read_mapping
from crossmodalnet.registration.quality import Alignment, Quality, measure, register_once

# Starts of the rigid stage; spacing in mm and steps of each level of the last stage.
METHODS: dict[str, tuple[int, tuple[tuple[float, int], ...]]] = {
    "fast": (2, ((8.0, 40), (4.0, 20), (3.0, 4))),
    "balanced": (3, ((8.0, 50), (4.0, 40), (2.0, 10))),
    "thorough": (3, ((8.0, 60), (4.0, 60), (2.0, 30), (1.5, 12))),
}
_AFFINE_SPACING_MM = 4.0
_AFFINE_ITERATIONS = (100, 50, 20)


class StagedRegistration:
    """The staged engine; its search is exhaustive."""

    def __init__(self, config: RegistrationConfig) -> None:
        self._num_candidates, self._levels = METHODS[config.method]
        self._min_gain = config.min_gain

    def register(self, ct: Volume, mr: Volume, folder: str | os.PathLike[str]) -> Alignment:
        """Register an MR to a CT; see `Registration`."""
        spacing_mm, _ = self._levels[-1]
        fixed, moving = prepare_ct(ct, spacing_mm), prepare_mr(mr, spacing_mm)

        def attempt() -> tuple[Transform, Quality]:
            transform = self._estimate(fixed, moving, Path(folder))
            coarse = [coarsen(image, max(_AFFINE_SPACING_MM, spacing_mm)) for image in (fixed, moving)]
            return transform, measure(coarse[0], coarse[1], transform, Path(folder))

        return register_once(attempt, self._min_gain)

    def warp_image(self, mr: Volume, grid: Grid, transform: Transform) -> Volume:
        """Warp the MR; see `Registration`."""
        fill = float(mr.data.min())
        return turned_back(map_image(mr, reoriented_grid(grid, WORLD), read_mapping(transform), fill), grid)

    def warp_labels(self, labels: Volume, grid: Grid, transform: Transform) -> Volume:
        """Warp the MR's label map; see `Registration`."""
        return turned_back(map_labels(labels, reoriented_grid(grid, WORLD), read_mapping(transform)), grid)

    def _estimate(self, fixed: Volume, moving: Volume, folder: Path) -> Transform:
        """Register a prepared moving image to a prepared fixed one; writes its files to `folder`."""
        with plain_folder(folder) as plain:
            affine = folder / _affine(fixed, moving, self._num_candidates, plain).name
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            scenes = _scenes(fixed, moving, read_affine(affine), [spacing for spacing, _ in self._levels])
            fields = deform(scenes, [steps for _, steps in self._levels])
        finally:
            torch.set_num_threads(threads)
        lattice = scenes[-1].lattice
        for field, name in zip(fields, ("syn1Warp.nii.gz", "syn1InverseWarp.nii.gz"), strict=True):
            vectors_mm = np.moveaxis((field * lattice.spacing_mm).numpy(), 0, -1)
            write_field(folder / name, vectors_mm, lattice.grid.affine)
        return Transform(affine, folder / "syn1Warp.nii.gz", "search")


def _affine(fixed: Volume, moving: Volume, num_candidates: int, folder: Path) -> Path:
    """Search, refine the best few rigidly and the best of those affinely; return the file of the best map."""
    best = best_rigid(fixed, moving, num_candidates, folder)
    if best is None:
        raise ValueError("the images have nothing in common: no translation makes them alike")
    fine = [coarsen(image, max(_AFFINE_SPACING_MM, *image.spacing_mm)) for image in (fixed, moving)]
    affine = linear("Affine", fine[0], fine[1], _AFFINE_ITERATIONS, best, folder / "affine")
    better = similarity(fine[0], fine[1], [affine]) >= similarity(fine[0], fine[1], [best])
    return affine if better else best


def _scenes(fixed: Volume, moving: Volume, affine: NDArray[np.float64], spacings_mm: list[float]) -> list[Scene]:
    """Sample both affinely aligned images over their shared view, at the spacing of each level."""
    low, high = _common_view(fixed, moving, affine)
    return [_scene(fixed, moving, affine, lattice_over(low, high, spacing_mm)) for spacing_mm in spacings_mm]


def _scene(fixed: Volume, moving: Volume, affine: NDArray[np.float64], lattice: Lattice) -> Scene:
    here = sample_image(fixed, lattice.grid, 0.0).data
    coarse = coarsen(moving, max(lattice.spacing_mm, min(moving.spacing_mm)))
    places = _indices_in(coarse, affine, lattice)
    there = sample(torch.from_numpy(np.ascontiguousarray(coarse.data))[None], places)
    seen = _within(places, coarse) & _within(_indices_in(fixed, np.eye(4), lattice), fixed)
    return Scene(lattice, torch.from_numpy(np.ascontiguousarray(here))[None], there, seen[None].float())


def _indices_in(image: Volume, affine: NDArray[np.float64], lattice: Lattice) -> torch.Tensor:
    """Map the lattice's voxels through an affine map to indices in an image, `(3, i, j, k)`."""
    matrix = np.linalg.inv(image.affine) @ affine @ lattice.grid.affine
    indices = lattice.indices().double()
    turned = (torch.from_numpy(matrix[:3, :3]) @ indices.reshape(3, -1)).reshape(indices.shape)
    return (turned + torch.from_numpy(matrix[:3, 3])[:, None, None, None]).float()


def _within(places: torch.Tensor, image: Volume) -> torch.Tensor:
    limits = torch.tensor(image.data.shape, dtype=torch.float32)[:, None, None, None] - 1
    return ((places >= 0) & (places <= limits)).all(dim=0)


def _common_view(
    fixed: Volume, moving: Volume, affine: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the world-aligned box of the shared view, in the fixed image's world, mm."""
    boxes = []
    for image, back in ((fixed, np.eye(4)), (moving, np.linalg.inv(affine))):
        world = back[:3, :3] @ image.grid.to_world(image.grid.corners(0.5)) + back[:3, 3:]
        boxes.append((world.min(axis=1), world.max(axis=1)))
    low = np.maximum(boxes[0][0], boxes[1][0])
    high = np.minimum(boxes[0][1], boxes[1][1])
    if (high <= low).any():
        raise ValueError("the fields of view have nothing in common after the affine registration")
    return low, high
