"""What registration costs and brings at real size: a Markdown table, every pair and recipe in a process of its own.

    python -m benchmarks.registration --pairs 2 --recipes balanced fast SyN:3 SyN:2 SyNCC:3

Recipes of the project go by their name; one of ANTs is its type and the spacing in mm at which it works, from geometric
centres laid together, its iterations as ANTsPy has them. CPU time has everything between images in memory and the MR
and its label map on the CT's own grid; those of ANTs are warped as recipe `syn` does it. Pairs are phantoms of
different people (`benchmarks/registration_pairs.py`); `--hard` moves, turns and cuts them.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.registration_pairs import PairPlan, coronary_plan
from benchmarks.registration_trial import HEAD, PROJECT, Trial, run_trial, save_pair
from crossmodalnet.processes import run_alone


def main() -> None:
    """Make the pairs, run all recipes and print the table, row by row."""
    options = _parser().parse_args()
    plans = [plan_of(number, options) for number in range(options.first, options.first + options.pairs)]
    print("| " + " | ".join(HEAD) + " |\n|---|---|" + "---:|" * (len(HEAD) - 2), flush=True)
    with TemporaryDirectory(prefix="registration_") as folder:
        for plan in plans:
            place = Path(folder) / str(plan.number)
            place.mkdir()
            run_alone(save_pair, (place, plan))  # what a parent has used would count as its children's peak
            for recipe in options.recipes:
                row = run_alone(
                    run_trial, Trial(str(plan.number), place, recipe), environment={"ANTS_RANDOM_SEED": "1"}
                )
                print("| " + " | ".join(row) + " |", flush=True)


def plan_of(number: int, options: argparse.Namespace) -> PairPlan:
    """Every other pair has the size of a coronary CT with a free-breathing MR; hard ones differ in everything."""
    plan = coronary_plan(number) if number % 2 else PairPlan(number)
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
    return parser


if __name__ == "__main__":
    main()
