"""Register with ANTs on coarse grids: affine, then SyN (Avants 2008) with mutual information or cross-correlation."""

import os
from itertools import product
from pathlib import Path
from typing import Literal, get_args

from crossmodalnet.imaging.geometry import WORLD, reoriented_grid
from crossmodalnet.imaging.intensity import NUM_BINS
from crossmodalnet.imaging.resample import coarsen
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.processes import plain_folder
from crossmodalnet.registration.ants import (
    Centre,
    Transform,
    linear,
    prepare_ct,
    prepare_mr,
    shared_information,
    similarity,
    to_ants,
    turned_back,
    warp,
    write_translation,
)
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.exhaustive import best_rigid
from crossmodalnet.registration.quality import Alignment, Quality, measure, register_once

# `search` aligns coarsely from several starts and continues from the best.
Start = Literal["search", "centre_of_mass"]
# At a quarter, half and the full working resolution.
AFFINE_ITERATIONS = (100, 50, 10)
_SEARCH_SPACING_MM = 8.0
_SEARCH_UP_MM = (0.0, -40.0, 40.0)
_SEARCH_ITERATIONS = (100, 50, 10)
_CANDIDATES = 2
# Shared information of another start or the exhaustive search, relative to that of the best start: in phantom pairs at
# most 1.3 where that succeeds, 1.6 and more where it fails.
_MUCH_BETTER = 1.4


class SynRegistration:
    """The ANTs engine: affine, then SyN."""

    def __init__(self, config: RegistrationConfig) -> None:
        self._config = config

    def register(self, ct: Volume, mr: Volume, folder: str | os.PathLike[str]) -> Alignment:
        """Register an MR to a CT; see `Registration`."""
        spacing_mm = self._config.working_spacing_mm
        fixed, moving = prepare_ct(ct, spacing_mm), prepare_mr(mr, spacing_mm)

        def attempt() -> tuple[Transform, Quality]:
            transform = estimate_syn(fixed, moving, self._config, "search", Path(folder))
            return transform, measure(fixed, moving, transform, Path(folder))

        return register_once(attempt, self._config.min_gain)

    def warp_image(self, mr: Volume, grid: Grid, transform: Transform) -> Volume:
        """Warp the MR; see `Registration`."""
        fill = float(mr.data.min())
        return turned_back(warp(mr, reoriented_grid(grid, WORLD), transform.files, "linear", fill), grid)

    def warp_labels(self, labels: Volume, grid: Grid, transform: Transform) -> Volume:
        """Warp the MR's label map; see `Registration`."""
        return turned_back(warp(labels, reoriented_grid(grid, WORLD), transform.files, "nearest"), grid)


def estimate_syn(fixed: Volume, moving: Volume, config: RegistrationConfig, start: Start, folder: Path) -> Transform:
    """Register a prepared moving image to a prepared fixed one, into `folder`; RuntimeError if ANTs fails."""
    import ants

    if config.transform == "Centres":
        write_translation(fixed, moving, "centre_of_mass", folder / "centre.mat")
        return Transform(folder / "centre.mat", None)
    first = estimate_affine(fixed, moving, AFFINE_ITERATIONS, start, folder)
    if config.transform == "Affine":
        return first
    metric, sampling = ("mattes", NUM_BINS) if config.transform == "SyN" else ("CC", 4)
    with plain_folder(folder) as plain:
        ants.registration(
            to_ants(fixed), to_ants(moving), "SyNOnly", initial_transform=str(plain / first.affine.name),
            outprefix=str(plain / "syn"), syn_metric=metric, syn_sampling=sampling,
            reg_iterations=tuple(config.iterations),
        )  # fmt: skip
    return Transform(folder / "syn0GenericAffine.mat", folder / "syn1Warp.nii.gz", first.start)


def estimate_affine(
    fixed: Volume, moving: Volume, iterations: tuple[int, int, int], start: Start, folder: Path
) -> Transform:
    """Register affinely, as `estimate_syn` does, errors too; iterations at a quarter, half and full resolution."""
    used: str = start
    with plain_folder(folder) as plain:
        if start == "search":
            first, used = _search(fixed, moving, plain)
        else:
            first = plain / "start.mat"
            write_translation(fixed, moving, start, first)
        affine = linear("Affine", fixed, moving, iterations, first, plain / "affine")
        # The coarse affine levels sometimes worsen a start near the optimum.
        if similarity(fixed, moving, [affine]) < similarity(fixed, moving, [first]):
            affine = first
    return Transform(folder / affine.name, None, used)


def _search(fixed: Volume, moving: Volume, folder: Path) -> tuple[Path, str]:
    """Register coarsely from several starts; return the best transform's file, and its search.

    Uses similarity transforms: of 20 phantom pairs, affine ones squeezed 3 into a wrong optimum, similarity ones none.
    The best has the most mutual information. In very tight or wide views it can be wrong, and all starts can drift
    away; then another one, or the exhaustive search, has far more information where both images have values.
    """
    spacing_mm = max(_SEARCH_SPACING_MM, *fixed.spacing_mm)
    coarse = coarsen(fixed, spacing_mm), coarsen(moving, spacing_mm)
    scores: dict[Path, float] = {}
    for number, (centre, up_mm) in enumerate(product(get_args(Centre), _SEARCH_UP_MM)):
        start = folder / f"start{number}.mat"
        write_translation(*coarse, centre, start, up_mm)
        # The prefix ends in a letter: ANTsPy would confuse the files of search1 and search10.
        aligned = linear("Similarity", *coarse, _SEARCH_ITERATIONS, start, folder / f"search{number}x")
        scores[aligned] = similarity(*coarse, [aligned])
    best = max(scores, key=scores.__getitem__)
    found = best_rigid(fixed, moving, _CANDIDATES, folder)
    shared = {path: shared_information(*coarse, [path]) for path in (*scores, found) if path}
    other = max(shared, key=shared.__getitem__)
    best = other if shared[other] > _MUCH_BETTER * shared[best] else best
    return best, "exhaustive" if best == found else "search"
