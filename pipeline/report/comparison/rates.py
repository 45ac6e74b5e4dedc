"""Whether each network ran at its own best learning rate: what was tried, what was used, and warnings."""

import math
from collections.abc import Sequence

from pipeline.report.artefacts.records import Artefacts
from pipeline.report.charts.tables import Table
from pipeline.training.tuning import TrialResult

FEWEST_TRIALS = 3
HEADINGS = ("Network", "Rate used", "Tried (validation Dice)", "Epochs of a trial", "Finding")


def rate_table(artefacts: Artefacts) -> tuple[Table, list[str]]:
    """List rates by network.

    Returns:
        The table, and a warning for every network whose rate is not the best of at least three tried.
    """
    rows, warnings = [], []
    for training in artefacts.trainings:
        used, trials = float(training.card["train"]["lr"]), artefacts.trials[training.name]
        sound, finding = judge(used, trials)
        tried = ", ".join(f"{trial.lr:g} ({trial.validation_dice:.3f})" for trial in trials)
        epochs = ", ".join(map(str, sorted({trial.epochs for trial in trials})))
        source = " (recorded)" if any(trial.recorded for trial in trials) else ""
        rows.append([training.title, f"{used:g}", tried or "–", epochs or "–", finding + source])
        if trials and not sound:
            warnings.append(f"{training.title} runs at {used:g}: {finding}.")
    return Table(HEADINGS, [False, True, False, True, False], rows), warnings


def judge(used: float, trials: Sequence[TrialResult]) -> tuple[bool, str]:
    """Say how the rate that a network ran at stands among those tried.

    Returns:
        Whether it is the best of at least three, and a few words.
    """
    if not trials:
        return False, "not tuned"
    own = [trial for trial in trials if math.isclose(trial.lr, used, rel_tol=1e-9)]
    best = max(trials, key=lambda trial: trial.validation_dice)
    if not own:
        return False, f"not one of those tried, of which {best.lr:g} was best"
    if own[0].validation_dice < best.validation_dice:
        return False, f"not the best tried, {best.lr:g} was better"
    if len(trials) < FEWEST_TRIALS:
        return False, f"best of {len(trials)} tried, fewer than {FEWEST_TRIALS}"
    rates = [trial.lr for trial in trials]
    edge = {min(rates): ", the lowest", max(rates): ", the highest"}.get(own[0].lr, "")
    return True, f"best of {len(trials)} tried{edge}"
