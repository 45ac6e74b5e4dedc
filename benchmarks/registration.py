"""Cost and quality of registration at real size: a Markdown table, every pair and method in a process of its own.

    python -m benchmarks.registration --pairs 2 --methods balanced fast SyN:3 SyN:2 SyNCC:3

Methods of the project go by their name; one of ANTs is its type and the spacing in mm at which it works, from geometric
centres laid together, its iterations as ANTsPy has them. CPU time has everything between images in memory and the MR
and its label map on the CT's own grid; those of ANTs are warped as method `syn` does it. Pairs are phantoms of
different people (`benchmarks/registration_pairs.py`); `--hard` moves, turns and cuts them.
"""

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np

from benchmarks.registration_pairs import PairPlan, coronary_plan, make_pair
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.metrics.overlap import dice
from crossmodalnet.processes import run_alone
from crossmodalnet.registration import make_registration
from crossmodalnet.registration.ants import Transform, prepare_ct, prepare_mr, to_ants, write_translation
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.quality import RegistrationError, deformation

PROJECT = get_args(RegistrationConfig.model_fields["method"].annotation)
# The options of preset mmwhs for method `syn`.
SYN = RegistrationConfig(working_spacing_mm=2.0, iterations=[40, 20, 10])
ANTS_TYPES = ["SyN:3", "SyN:2", "antsRegistrationSyNQuick[s]:2", "SyNCC:3"]
HEAD = ("pair", "method", "CPU, s", "wall, s", "peak, GB", "Dice", *(s.abbreviation for s in STRUCTURES), "folded")


def main() -> None:
    """Make the pairs, run all methods and print the table, row by row."""
    options = _parser().parse_args()
    plans = [plan_of(number, options) for number in range(options.first, options.first + options.pairs)]
    print("| " + " | ".join(HEAD) + " |\n|---|---|" + "---:|" * (len(HEAD) - 2), flush=True)
    with TemporaryDirectory(prefix="registration_") as folder:
        for plan in plans:
            place = Path(folder) / str(plan.number)
            place.mkdir()
            run_alone(save_pair, (place, plan))  # what a parent has used would count as its children's peak
            for method in options.methods:
                row = run_alone(run_trial, (place, method), environment={"ANTS_RANDOM_SEED": "1"})
                print("| " + " | ".join(row) + " |", flush=True)


def plan_of(number: int, options: argparse.Namespace) -> PairPlan:
    """Every other pair has the size of a coronary CT with a free-breathing MR; hard ones differ in everything."""
    plan = coronary_plan(number) if number % 2 else PairPlan(number)
    if options.hard:
        rng = np.random.default_rng([815, number])
        plan = replace(plan, shift_mm=float(rng.uniform(0, 60)), turn_degrees=float(rng.uniform(0, 30)), codes=True)
        # A whole chest in the CT, or a MR of little more than the heart.
        if number % 3 == 1:
            plan = replace(plan, ct_size=(600, 560, 500), ct_spacing_mm=(0.6, 0.6, 0.6))
        if number % 3 == 2:
            x, y, z = plan.mr_size
            plan = replace(plan, mr_size=(x, y, round(z * 0.75)), shift_mm=min(plan.shift_mm, 10.0))
    return plan.at(options.spacing) if options.spacing else plan


def run_trial(trial: tuple[Path, str]) -> list[str]:
    """Register the pair in a folder named after it by a method, and warp image and label map: a row of the table."""
    folder, method = trial
    ct, ct_label, mr, mr_label = (_load(folder, part) for part in ("ct", "ct_label", "mr", "mr_label"))
    name, _, spacing = method.partition(":")
    update = {"method": name} if name in PROJECT else {}
    registration = make_registration(SYN.model_copy(update=update))
    # Imports are of the process, not of the pair.
    import ants  # noqa: F401
    import torch  # noqa: F401

    cpu, wall = time.process_time(), time.monotonic()
    with TemporaryDirectory(prefix="trial_") as scratch:
        try:
            if name in PROJECT:
                transform = registration.register(ct, mr, Path(scratch)).transform
            else:
                transform = _by_ants(ct, mr, name, float(spacing), Path(scratch))
        except RegistrationError:
            return [folder.name, method, "failed", *[""] * (len(HEAD) - 3)]
        registration.warp_image(mr, ct.grid, transform)
        moved = registration.warp_labels(mr_label, ct.grid, transform)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        folded = deformation(transform.warp)[0] if transform.warp else 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    scores = [dice(moved.data == structure.index, ct_label.data == structure.index) for structure in STRUCTURES]
    return [
        folder.name, method, f"{cpu:.0f}", f"{wall:.0f}", f"{peak:.1f}", f"{np.mean(scores):.3f}",
        *(f"{score:.3f}" for score in scores), f"{folded:.3%}",
    ]  # fmt: skip


def save_pair(pair: tuple[Path, PairPlan]) -> None:
    """Make a pair and keep CT, its labels, MR and its labels in a folder, as `run_trial` reads them."""
    folder, plan = pair
    for part, volume in zip(("ct", "ct_label", "mr", "mr_label"), make_pair(plan), strict=True):
        np.savez(folder / f"{part}.npz", data=volume.data, affine=volume.affine)


def _by_ants(ct: Volume, mr: Volume, kind: str, spacing_mm: float, folder: Path) -> Transform:
    import ants

    fixed, moving = prepare_ct(ct, spacing_mm), prepare_mr(mr, spacing_mm)
    start = folder / "start.mat"
    write_translation(fixed, moving, "geometric_centre", start)
    result = ants.registration(
        to_ants(fixed), to_ants(moving), kind, initial_transform=str(start), outprefix=str(folder / "x")
    )
    warp, affine = result["fwdtransforms"]
    return Transform(Path(affine), Path(warp))


def _load(folder: Path, part: str) -> Volume:
    with np.load(folder / f"{part}.npz") as arrays:
        return Volume(arrays["data"], arrays["affine"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4, help="number of pairs")
    parser.add_argument("--first", type=int, default=0, help="number of the first pair")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["fast", "balanced", "thorough", *ANTS_TYPES],
        help=f"methods of the project ({', '.join(PROJECT)}) or TYPE:SPACING of ANTs",
    )
    parser.add_argument("--hard", action="store_true", help="hearts moved, turned, in other orientations and views")
    parser.add_argument("--spacing", type=float, help="voxels of this size, mm, in place of real ones: quicker pairs")
    return parser


if __name__ == "__main__":
    main()
