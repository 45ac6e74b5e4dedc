"""What registration costs and brings at real size: a Markdown table, every pair and recipe in a process of its own.

    python -m benchmarks.registration --pairs 2 --recipes balanced fast SyN:3 SyN:2 SyNCC:3

Recipes of the project go by their name; one of ANTs is its type and the spacing in mm at which it works, from geometric
centres laid together, its iterations as ANTsPy has them. CPU time has everything between images in memory and the MR
and its label map on the CT's own grid; those of ANTs are warped as recipe `syn` does it. Pairs are phantoms of
different people (`benchmarks/registration_pairs.py`); `--hard` moves, turns and cuts them.
"""

import argparse
import os
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from crossmodalnet.processes.parallel import run_parallel

from benchmarks.registration_pairs import PairPlan, make_pair
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.align import AlignSettings, align, bring_image, bring_labels
from crossmodalnet.registration.initialise import write_translation
from crossmodalnet.registration.quality import deformation
from crossmodalnet.registration.syn import SynSettings, Transform, prepare_ct, prepare_mr, to_ants

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


def main() -> None:
    """Make the pairs, run all recipes and print the table, row by row."""
    options = _parser().parse_args()
    plans = [_plan(number, options) for number in range(options.first, options.first + options.pairs)]
    print("| " + " | ".join(HEAD) + " |\n|---|---|" + "---:|" * (len(HEAD) - 2), flush=True)
    with TemporaryDirectory(prefix="registration_") as folder:
        for plan in plans:
            place = Path(folder) / str(plan.number)
            place.mkdir()
            _save(place, make_pair(plan))
            trials = [Trial(str(plan.number), place, recipe) for recipe in options.recipes]
            for _, row in run_parallel(
                run_trial, trials, workers=options.workers, environment={"ANTS_RANDOM_SEED": "1"}
            ):
                print("| " + " | ".join(row) + " |", flush=True)


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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    scores = [_dice(moved, ct_label, structure.index) for structure in STRUCTURES]
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


def _dice(a: Volume, b: Volume, index: int) -> float:
    total = int((a.data == index).sum()) + int((b.data == index).sum())
    return 2 * int(((a.data == index) & (b.data == index)).sum()) / total if total else 1.0


def _plan(number: int, options: argparse.Namespace) -> PairPlan:
    """Every other pair has the size of a coronary CT with a free-breathing MR; hard ones differ in everything."""
    plan = PairPlan(number)
    if number % 2:
        plan = replace(
            plan,
            ct_size=(512, 512, 250), ct_spacing_mm=(0.45, 0.45, 0.6),
            mr_size=(288, 288, 160), mr_spacing_mm=(0.8, 0.8, 1.0),
        )  # fmt: skip
    if options.hard:
        rng = np.random.default_rng([815, number])
        plan = replace(
            plan, shift_mm=float(rng.uniform(0, 60)), turn_degrees=float(rng.uniform(0, 30)), codes=True
        )
        # A whole chest in the CT, or a MR of little more than the heart.
        if number % 3 == 1:
            plan = replace(plan, ct_size=(600, 560, 500), ct_spacing_mm=(0.6, 0.6, 0.6))
        if number % 3 == 2:
            x, y, z = plan.mr_size
            plan = replace(plan, mr_size=(x, y, round(z * 0.75)), shift_mm=min(plan.shift_mm, 10.0))
    return plan.at(options.spacing) if options.spacing else plan


def _save(folder: Path, volumes: tuple[Volume, ...]) -> None:
    for part, volume in zip(("ct", "ct_label", "mr", "mr_label"), volumes, strict=True):
        np.savez(folder / f"{part}.npz", data=volume.data, affine=volume.affine)


def _load(folder: Path, part: str) -> Volume:
    with np.load(folder / f"{part}.npz") as arrays:
        return Volume(arrays["data"], arrays["affine"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=4, help="number of pairs")
    parser.add_argument("--first", type=int, default=0, help="number of the first pair")
    parser.add_argument(
        "--recipes",
        nargs="+",
        default=[
            "fast",
            "balanced",
            "thorough",
            "SyN:3",
            "SyN:2",
            "antsRegistrationSyNQuick[s]:2",
            "SyNCC:3",
        ],
        help=f"recipes of the project ({', '.join(PROJECT)}) or TYPE:SPACING of ANTs",
    )
    parser.add_argument(
        "--hard", action="store_true", help="hearts moved, turned, in other orientations and views"
    )
    parser.add_argument(
        "--spacing", type=float, help="voxels of this size, mm, in place of real ones: quicker pairs"
    )
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="trials at once")
    return parser


if __name__ == "__main__":
    main()
