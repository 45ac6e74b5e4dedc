"""Learning rates that were tried before a preset was published: recorded_rates.csv, measured by stage `tune`.

They take an hour that a comparison need not spend again. They count only where nothing but the rate and the budget
differs from what they were tried with: each row has a digest of these settings, which `python -m tools.recorded_rates`
takes from the presets.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.runtime.work import fingerprint
from pipeline.training.tuning import TrialResult

FILE = Path(__file__).with_name("recorded_rates.csv")
SECTIONS = ("data", "register", "crop", "split", "augment", "losses")
FREE = ("lr", "budget", "epochs", "seconds", "validate_every", "devices", "num_threads", "checkpoint_every")


def recorded_trials(name: str, params: Mapping[str, Any]) -> Sequence[TrialResult]:
    """Look up the trials recorded for a network, lowest rate first.

    Args:
        name: name of the model.
        params: parameters of this run, as read from params.yaml.

    Returns:
        Nothing where none were recorded under the settings of this run.
    """
    recorded = pd.read_csv(FILE)
    recorded = recorded[(recorded["model"] == name) & (recorded["settings"] == settings_digest(name, params))]
    found = [
        TrialResult(name, float(row["lr"]), float(row["validation_dice"]), int(row["epochs"]), recorded=True)
        for row in recorded.to_dict("records")
    ]
    return sorted(found, key=lambda trial: trial.lr)


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
