"""Learning rates that were tried for a preset before it was published: recorded_rates.csv, measured by stage `tune`.

They take an hour that a comparison need not spend again. They count only where nothing but the rate and the budget
differs from what they were tried with.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.tuning.trial_result import TrialResult

FILE = Path(__file__).with_name("recorded_rates.csv")
SECTIONS = ("data", "register", "crop", "split", "augment", "losses")
FREE = ("lr", "budget", "epochs", "seconds", "validate_every", "devices", "num_threads", "checkpoint_every")


def recorded_trials(
    name: str, params: Mapping[str, Any], presets: Mapping[str, Mapping[str, Any]]
) -> Sequence[TrialResult]:
    """Look up the trials recorded for a network, lowest rate first.

    Args:
        name: name of the model.
        params: parameters of this run, as read from params.yaml.
        presets: parameters of each preset, by its name.

    Returns:
        None where none were recorded under the settings of this run.
    """
    recorded = pd.read_csv(FILE)
    recorded = recorded[recorded["model"] == name]
    for preset, rows in recorded.groupby("preset"):
        if preset in presets and _settings(name, presets[str(preset)]) == _settings(name, params):
            found = [
                TrialResult(
                    name, float(row["lr"]), float(row["validation_dice"]), int(row["epochs"]), recorded=True
                )
                for row in rows.to_dict("records")
            ]
            return sorted(found, key=lambda trial: trial.lr)
    return []


def _settings(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    network = dict(params.get("network", {}).get(name) or {})
    network.pop("lr", None)
    train = {key: value for key, value in (params.get("train") or {}).items() if key not in FREE}
    return {**{key: params.get(key) for key in SECTIONS}, "network": network, "train": train}
