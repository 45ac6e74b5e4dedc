"""What made-up networks make of pairs that are not as they should be: the MR displaced, one modality missing."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluation.score_cases import MISREGISTRATION_COLUMNS

SHIFTS = (0.0, 5.0, 10.0, 15.0)
# Dice on top of the pair's, by view.
CHANGES = {"ct_alone": -0.03, "mr_alone": -0.06}


def make_misregistration(run: Path, place: int) -> None:
    """Write how the Dice of a run's pairs falls, from method to method faster."""
    dice = pd.read_csv(run / "cases.csv").groupby("pair")["dice"].mean()
    slope = 0.004 + 0.003 * ((3 * place + 1) % 5)
    rows = [
        (pair, shift, shift / 1.5, start - slope * shift * (1 + 0.02 * number))
        for number, (pair, start) in enumerate(dice.items())
        for shift in SHIFTS
    ]
    table = pd.DataFrame(rows, columns=list(MISREGISTRATION_COLUMNS))
    table.to_csv(run / "misregistration.csv", index=False)


def make_modalities(run: Path) -> None:
    """Write the scores of a run's pairs with one modality missing."""
    cases = pd.read_csv(run / "cases.csv")
    for view, change in CHANGES.items():
        (run / view).mkdir()
        dice = np.clip(cases["dice"] + change, 0, 1)
        table = cases.assign(dice=dice, iou=dice / (2 - dice), hd95_mm=cases["hd95_mm"] - 40 * change)
        table.to_csv(run / view / "cases.csv", index=False)
