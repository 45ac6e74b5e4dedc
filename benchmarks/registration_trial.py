"""One pair registered by one recipe in a process of its own: what it costs, and how well the labels meet."""

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.registration_pairs import PairPlan, make_pair
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.metrics.overlap import dice
from crossmodalnet.registration.align import AlignSettings, align, bring_image, bring_labels
from crossmodalnet.registration.ants import (
    SynSettings,
    Transform,
    prepare_ct,
    prepare_mr,
    to_ants,
    write_translation,
)
from crossmodalnet.registration.quality import deformation

PROJECT = ("syn", "fast", "balanced", "thorough")
# Of preset mmwhs before there were recipes.
SYN = SynSettings("SyN", (100, 50, 10), (40, 20, 10))
SYN_MM = 2.0
HEAD = (
    "pair",
    "recipe",
    "CPU, s",
    "wall, s",
    "peak, GB",
    "Dice",
    *(s.abbreviation for s in STRUCTURES),
    "folded",
)


@dataclass(frozen=True)
class Trial:
    """A pair, whose four volumes lie in a folder, and a recipe."""

    pair: str
    folder: Path
    recipe: str


def run_trial(trial: Trial) -> list[str]:
    """Register a pair by a recipe and bring image and label map over: a row of the table."""
    ct, ct_label, mr, mr_label = (_load(trial.folder, part) for part in ("ct", "ct_label", "mr", "mr_label"))
    name, _, spacing = trial.recipe.partition(":")
    settings = _settings(name)
    # Imports are of the process, not of the pair.
    import ants  # noqa: F401
    import torch  # noqa: F401

    cpu, wall = time.process_time(), time.monotonic()
    with TemporaryDirectory(prefix="trial_") as scratch:
        if name in PROJECT:
            transform = align(ct, mr, settings, Path(scratch)).transform
        else:
            transform = _by_ants(ct, mr, name, float(spacing), Path(scratch))
        if transform is None:
            return [trial.pair, trial.recipe, "failed", *[""] * (len(HEAD) - 3)]
        bring_image(mr, ct.grid, transform, settings)
        moved = bring_labels(mr_label, ct.grid, transform, settings)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        folded = deformation(transform.warp)[0] if transform.warp else 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    scores = [
        dice(moved.data == structure.index, ct_label.data == structure.index) for structure in STRUCTURES
    ]
    return [
        trial.pair, trial.recipe, f"{cpu:.0f}", f"{wall:.0f}", f"{peak:.1f}", f"{np.mean(scores):.3f}",
        *(f"{score:.3f}" for score in scores), f"{folded:.3%}",
    ]  # fmt: skip


def _settings(name: str) -> AlignSettings:
    recipe = name if name in PROJECT else "syn"
    starts = ("search", "geometric_centre", "centre_of_mass")
    return AlignSettings(SYN, SYN_MM, starts, 0.0, 1, recipe)  # type: ignore[arg-type]


def _by_ants(ct: Volume, mr: Volume, kind: str, spacing_mm: float, folder: Path) -> Transform:
    import ants

    fixed, moving = prepare_ct(ct, spacing_mm), prepare_mr(mr, spacing_mm)
    start = folder / "start.mat"
    write_translation(fixed, moving, "geometric_centre", start)
    found = ants.registration(
        to_ants(fixed), to_ants(moving), kind, initial_transform=str(start), outprefix=str(folder / "x")
    )
    warp, affine = found["fwdtransforms"]
    return Transform(Path(affine), Path(warp))


def save_pair(pair: tuple[Path, PairPlan]) -> None:
    """Make a pair and keep CT, its labels, MR and its labels in a folder, as `run_trial` reads them."""
    folder, plan = pair
    for part, volume in zip(("ct", "ct_label", "mr", "mr_label"), make_pair(plan), strict=True):
        np.savez(folder / f"{part}.npz", data=volume.data, affine=volume.affine)


def _load(folder: Path, part: str) -> Volume:
    with np.load(folder / f"{part}.npz") as arrays:
        return Volume(arrays["data"], arrays["affine"])
