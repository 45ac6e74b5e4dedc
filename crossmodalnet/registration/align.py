"""An MR registered to a CT: from several starts, until one makes the pair more alike."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crossmodalnet.imaging.geometry import WORLD, reoriented, reoriented_grid
from crossmodalnet.imaging.resample import coarsen
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.processes import what_is_lacking
from crossmodalnet.registration.ants import (
    Initialisation,
    SynSettings,
    Transform,
    estimate,
    prepare_ct,
    prepare_mr,
    warp,
)
from crossmodalnet.registration.quality import Quality, measure

# `syn` follows the other settings; the named ones are settings of their own (`registration.staged`).
RecipeChoice = Literal["syn", "fast", "balanced", "thorough"]


@dataclass(frozen=True)
class AlignSettings:
    """How an MR is registered to a CT.

    Attributes:
        syn: transform and iterations.
        working_spacing_mm: spacing at which the transform is estimated.
        initialisations: starts, in the order in which they are tried.
        min_gain: least rise of the pair's mutual information, nats; with less the next start is tried.
        seed: seed of the voxels at which the similarity is sampled, for `ANTS_RANDOM_SEED`.
        recipe: `syn`: ANTs by the settings above; a named recipe takes `min_gain` and `seed` of them alone.
    """

    syn: SynSettings
    working_spacing_mm: float
    initialisations: tuple[Initialisation, ...]
    min_gain: float
    seed: int
    recipe: RecipeChoice = "syn"


@dataclass(frozen=True)
class Alignment:
    """What became of a pair.

    Attributes:
        transform: transform from the CT's to the MR's world; None where every start failed.
        quality: quality of the transform; None likewise.
        initialisation: start that it came from, the last one tried.
        attempts: number of starts that were tried.
        problems: a line per start that failed.
    """

    transform: Transform | None
    quality: Quality | None
    initialisation: Initialisation
    attempts: int
    problems: Sequence[str]


def align(ct: Volume, mr: Volume, settings: AlignSettings, folder: Path) -> Alignment:
    """Register an MR to a CT by intensities alone.

    Deterministic in a process whose environment is as `registration.syn` asks.

    Args:
        ct: CT in HU.
        mr: MR of any unit.
        settings: starts, transform, and what is good enough.
        folder: exists, receives the files of the transform in a folder of its own; whoever made it deletes it.
    """
    if settings.recipe != "syn":
        return _align_in_stages(ct, mr, settings, folder)
    spacing = settings.working_spacing_mm
    fixed, moving = prepare_ct(ct, spacing), prepare_mr(mr, spacing)
    problems: list[str] = []
    for attempt, start in enumerate(settings.initialisations, 1):
        scratch = folder / f"attempt{attempt}"
        scratch.mkdir()
        try:
            transform = estimate(fixed, moving, settings.syn, start, scratch)
            quality = measure(fixed, moving, transform, scratch)
        except (RuntimeError, ValueError, OSError) as error:
            if what_is_lacking(error):
                raise  # no fault of the images, and no other start would help
            problems.append(f"from {start}: {error}")
        else:
            gain = quality.mi_after - quality.mi_before
            if gain >= settings.min_gain:
                return Alignment(transform, quality, start, attempt, problems)
            problems.append(f"from {start}: mutual information changed by {gain:+.4f}")
        shutil.rmtree(scratch)
    return Alignment(None, None, settings.initialisations[-1], len(settings.initialisations), problems)


def bring_image(mr: Volume, grid: Grid, transform: Transform, settings: AlignSettings) -> Volume:
    """Bring the MR onto a grid in the CT's world, its least value outside its field of view; float32."""
    fill, turned = float(mr.data.min()), reoriented_grid(grid, WORLD)
    if settings.recipe == "syn":
        return _turned_back(warp(mr, turned, transform.files, "linear", fill=fill), grid)
    from crossmodalnet.registration.mapping import map_image, read_mapping

    return _turned_back(map_image(mr, turned, read_mapping(transform), fill), grid)


def bring_labels(labels: Volume, grid: Grid, transform: Transform, settings: AlignSettings) -> Volume:
    """Bring the MR's label map onto a grid in the CT's world, background outside its field of view."""
    turned = reoriented_grid(grid, WORLD)
    if settings.recipe == "syn":
        return _turned_back(warp(labels, turned, transform.files, "nearest"), grid)
    from crossmodalnet.registration.mapping import map_labels, read_mapping

    return _turned_back(map_labels(labels, turned, read_mapping(transform)), grid)


def _turned_back(moved: Volume, grid: Grid) -> Volume:
    """Give what was brought onto a grid along the world's axes on the grid itself.

    A map is evaluated at every few voxels: along the patient's axes, whatever those of the scan, so that a scan
    stored along others has the same result.
    """
    return Volume(reoriented(moved, grid).data, grid.affine)


def _align_in_stages(ct: Volume, mr: Volume, settings: AlignSettings, folder: Path) -> Alignment:
    """Register by a named recipe: its search is exhaustive, so there is no second start."""
    # PyTorch is imported where it is used: `syn` does without.
    from crossmodalnet.registration.staged import AFFINE_SPACING_MM, estimate_in_stages, finest_mm

    assert settings.recipe != "syn"
    spacing = finest_mm(settings.recipe)
    fixed, moving = prepare_ct(ct, spacing), prepare_mr(mr, spacing)
    try:
        transform = estimate_in_stages(fixed, moving, settings.recipe, folder)
        coarse = [coarsen(image, max(AFFINE_SPACING_MM, spacing)) for image in (fixed, moving)]
        quality = measure(coarse[0], coarse[1], transform, folder)
    except (RuntimeError, ValueError, OSError) as error:
        if what_is_lacking(error):
            raise
        return Alignment(None, None, "search", 1, [f"recipe {settings.recipe}: {error}"])
    gain = quality.mi_after - quality.mi_before
    if gain < settings.min_gain:
        problem = f"recipe {settings.recipe}: mutual information changed by {gain:+.4f}"
        return Alignment(None, None, "search", 1, [problem])
    return Alignment(transform, quality, "search", 1, [])
