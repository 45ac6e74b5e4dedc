"""Learning rates: what was tried for each network, and whether it ran at the best.

recorded_rates.csv holds rates that stage `tune` tried before a preset was published, so that a comparison need not
spend that hour again. They count only where nothing but the rate and the budget differs from their trials: each row
has a digest of these settings, which `python -m tools.recorded_rates` takes from the presets.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.comparison.titles import title_of
from pipeline.config.params import read_raw
from pipeline.report.artefacts import Artefacts
from pipeline.report.tables import DASH, make_table
from pipeline.runtime import paths
from pipeline.runtime.work import fingerprint
from pipeline.training.tuning import TrialResult, read_trials

FILE = Path(__file__).with_name("recorded_rates.csv")
SECTIONS = ("data", "register", "crop", "split", "augment", "losses")
FREE = ("lr", "budget", "epochs", "seconds", "validate_every", "devices", "num_threads", "checkpoint_every")
FEWEST_TRIALS = 3


def rate_table(artefacts: Artefacts) -> dict[str, Any]:
    """List rates by network, with a warning for every one that is not the best of at least three tried."""
    params = read_raw(artefacts.top / paths.PARAMS)
    rows, warnings, untuned = [], [], []
    for name in artefacts.models:
        used, title = float(artefacts.card(name)["train"]["lr"]), title_of(name)
        trials = read_trials(name, artefacts.top) or recorded_trials(name, params)
        is_best, finding = judge(used, trials)
        source = " (recorded)" if any(trial.recorded for trial in trials) else ""
        rows.append({
            "Network": title,
            "Rate used": f"{used:g}",
            "Tried (validation Dice)": ", ".join(f"{t.lr:g} ({t.validation_dice:.3f})" for t in trials) or DASH,
            "Epochs of a trial": ", ".join(map(str, sorted({trial.epochs for trial in trials}))) or DASH,
            "Finding": finding + source,
        })  # fmt: skip
        if not trials:
            untuned.append(title)
        elif not is_best:
            warnings.append(f"{title} runs at {used:g}: {finding}.")
    table = make_table(rows, text=("Tried (validation Dice)", "Finding"))
    return {"rates": table, "rate_warnings": warnings, "untuned": untuned}


def judge(used: float, trials: Sequence[TrialResult]) -> tuple[bool, str]:
    """Tell whether the rate that a network ran at is the best of at least three tried, and say so in a few words."""
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


def recorded_trials(name: str, params: Mapping[str, Any]) -> list[TrialResult]:
    """Look up the trials recorded for a network under the settings of this run, lowest rate first."""
    rates = pd.read_csv(FILE)
    rows = rates[(rates["model"] == name) & (rates["settings"] == settings_digest(name, params))]
    columns = rows.sort_values("lr")[["lr", "validation_dice", "epochs"]]
    return [
        TrialResult(name, lr, dice, int(epochs), recorded=True) for lr, dice, epochs in columns.to_numpy()
    ]


def settings_digest(name: str, params: Mapping[str, Any]) -> str:
    """Digest what a recorded rate of a network holds for: all but the rate, the budget and how it is computed.

    Args:
        name: name of the model.
        params: parameters, as params.yaml holds them.
    """
    network = dict(params.get("network", {}).get(name) or {})
    network.pop("lr", None)
    train = {key: value for key, value in (params.get("train") or {}).items() if key not in FREE}
    return fingerprint({**{key: params.get(key) for key in SECTIONS}, "network": network, "train": train})
