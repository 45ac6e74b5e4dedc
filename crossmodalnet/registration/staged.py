"""Registration in stages: exhaustive search, rigid, affine, then diffeomorphic over what both images show.

Recipes differ in how far the last stage goes. Everything is by intensities; no label is looked at.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodalnet.imaging.resample import coarsen, sample_image
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.ants import (
    Transform,
    linear,
    read_affine,
    similarity,
    write_affine,
    write_field,
)
from crossmodalnet.registration.diffeomorphic import Flow, Lattice, Level, Scene, deform, lattice_over, sample
from crossmodalnet.registration.exhaustive import best_candidates

RecipeName = Literal["fast", "balanced", "thorough"]

_RIGID_SPACING_MM = 5.0
AFFINE_SPACING_MM = 4.0
_RIGID_ITERATIONS = (0, 60, 30)
_AFFINE_ITERATIONS = (100, 50, 20)


@dataclass(frozen=True)
class StagedRecipe:
    """A recipe.

    Attributes:
        num_candidates: starts that the rigid stage improves.
        flow: last stage.
    """

    num_candidates: int
    flow: Flow


RECIPES: dict[RecipeName, StagedRecipe] = {
    "fast": StagedRecipe(2, Flow((Level(8.0, 40), Level(4.0, 20), Level(3.0, 4)))),
    "balanced": StagedRecipe(3, Flow((Level(8.0, 50), Level(4.0, 40), Level(2.0, 10)))),
    "thorough": StagedRecipe(3, Flow((Level(8.0, 60), Level(4.0, 60), Level(2.0, 30), Level(1.5, 12)))),
}


def finest_mm(name: RecipeName) -> float:
    """Spacing at which a recipe wants its images prepared."""
    return RECIPES[name].flow.levels[-1].spacing_mm


def estimate_in_stages(fixed: Volume, moving: Volume, name: RecipeName, folder: Path) -> Transform:
    """Estimate the transform that aligns `moving` with `fixed`, by intensities alone.

    Deterministic in a process with one thread whose environment is as `registration.syn` asks.

    Args:
        fixed: image prepared at `finest_mm`, 0 to 1.
        moving: image prepared likewise.
        name: recipe.
        folder: fresh, receives the transform and its inverse; whoever made it deletes it.

    Raises:
        RuntimeError: ANTs failed.
        ValueError: the images have no place in common.
    """
    recipe = RECIPES[name]
    affine = _affine(fixed, moving, recipe.num_candidates, folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        scenes = _scenes(fixed, moving, read_affine(affine), recipe.flow)
        forward, back = deform(scenes, recipe.flow)
    finally:
        torch.set_num_threads(threads)
    lattice = scenes[-1].lattice
    transform = Transform(affine, folder / "syn1Warp.nii.gz")
    for field, path in ((forward, transform.warp), (back, folder / "syn1InverseWarp.nii.gz")):
        assert path is not None
        vectors_mm = np.moveaxis((field * lattice.spacing_mm).numpy(), 0, -1)
        write_field(path, vectors_mm, lattice.grid.affine)
    return transform


def _affine(fixed: Volume, moving: Volume, num_candidates: int, folder: Path) -> Path:
    """Search, improve the best few rigidly, and the best of those affinely; the file of the best map."""
    coarse = [coarsen(image, max(_RIGID_SPACING_MM, *image.spacing_mm)) for image in (fixed, moving)]
    found: dict[Path, float] = {}
    for number, candidate in enumerate(best_candidates(fixed, moving, num_candidates)):
        start = folder / f"candidate{number}.mat"
        write_affine(candidate.matrix, start)
        # The prefix ends in a letter: ANTsPy would also take the files of rigid10 for those of rigid1.
        rigid = linear("Rigid", coarse[0], coarse[1], _RIGID_ITERATIONS, start, folder / f"rigid{number}x")
        for path in (start, rigid):
            found[path] = similarity(coarse[0], coarse[1], [path])
    if not found:
        raise ValueError("the images have nothing in common: no translation makes them alike")
    best = max(found, key=found.__getitem__)
    fine = [coarsen(image, max(AFFINE_SPACING_MM, *image.spacing_mm)) for image in (fixed, moving)]
    affine = linear("Affine", fine[0], fine[1], _AFFINE_ITERATIONS, best, folder / "affine")
    better = similarity(fine[0], fine[1], [affine]) >= similarity(fine[0], fine[1], [best])
    return affine if better else best


def _scenes(fixed: Volume, moving: Volume, affine: NDArray[np.float64], flow: Flow) -> list[Scene]:
    """Sample both images, affinely aligned, over what both show, at the spacing of each level."""
    low, high = _common_view(fixed, moving, affine)
    return [_scene(fixed, moving, affine, lattice_over(low, high, level.spacing_mm)) for level in flow.levels]


def _scene(fixed: Volume, moving: Volume, affine: NDArray[np.float64], lattice: Lattice) -> Scene:
    here = sample_image(fixed, lattice.grid, 0.0).data
    coarse = coarsen(moving, max(lattice.spacing_mm, min(moving.spacing_mm)))
    places = _indices_in(coarse, affine, lattice)
    there = sample(torch.from_numpy(np.ascontiguousarray(coarse.data))[None], places)
    seen = _within(places, coarse) & _within(_indices_in(fixed, np.eye(4), lattice), fixed)
    return Scene(lattice, torch.from_numpy(np.ascontiguousarray(here))[None], there, seen[None].float())


def _indices_in(image: Volume, affine: NDArray[np.float64], lattice: Lattice) -> torch.Tensor:
    """Indices of the lattice's voxels in an image that an affine map leads to, `(3, i, j, k)`."""
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
    """Box along the world's axes around all that both images show, in the fixed image's world, mm."""
    boxes = []
    for image, back in ((fixed, np.eye(4)), (moving, np.linalg.inv(affine))):
        world = back[:3, :3] @ image.grid.to_world(image.grid.corners(0.5)) + back[:3, 3:]
        boxes.append((world.min(axis=1), world.max(axis=1)))
    low = np.maximum(boxes[0][0], boxes[1][0])
    high = np.minimum(boxes[0][1], boxes[1][1])
    if (high <= low).any():
        raise ValueError("the fields of view have nothing in common after the affine registration")
    return low, high
