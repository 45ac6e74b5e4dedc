import copy
from typing import Any

import pandas as pd
import pytest

from pipeline.config import presets
from pipeline.report.artefacts.recorded_rates import FILE, recorded_trials, settings_digest
from pipeline.report.comparison.rates import judge

PRESETS = presets.rendered()


def rendered(preset: str) -> dict[str, Any]:
    return copy.deepcopy(PRESETS[preset])


@pytest.mark.parametrize("preset", sorted(set(pd.read_csv(FILE)["preset"])))
def test_every_network_of_a_preset_runs_at_the_best_rate_recorded_for_it(preset: str) -> None:
    params = rendered(preset)
    for name in params["models"]:
        trials = recorded_trials(name, params)
        sound, finding = judge(params["network"][name]["lr"], trials)
        assert sound, f"{name}: {finding}"
        assert len({trial.epochs for trial in trials}) == 1, (
            f"{name}: trials of different length are not compared"
        )
        assert all(trial.recorded for trial in trials)


def test_the_record_names_the_settings_of_its_preset() -> None:
    for row in pd.read_csv(FILE).to_dict("records"):
        assert row["settings"] == settings_digest(row["model"], PRESETS[row["preset"]]), (
            "run `python -m tools.recorded_rates` where the recorded rates hold for the presets as they are now"
        )


def test_a_rate_or_a_budget_of_ones_own_keeps_the_record() -> None:
    params = rendered("compare")
    params["network"]["mednext"]["lr"] = 0.3
    params["train"]["epochs"] = 99
    assert len(recorded_trials("mednext", params)) == 4


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("train", "batch_size", 1), ("crop", "spacing_mm", None), ("data", "source", "mmwhs")],
)
def test_other_settings_void_the_record(section: str, key: str, value: object) -> None:
    params = rendered("compare")
    assert key in params[section]
    params[section][key] = value
    assert recorded_trials("mednext", params) == []


def test_another_size_of_a_network_voids_its_record_alone() -> None:
    params = rendered("compare")
    params["network"]["mednext"]["size"] = "B"
    assert recorded_trials("mednext", params) == []
    assert recorded_trials("nnformer", params)


def test_the_default_pipeline_has_no_recorded_rates() -> None:
    assert recorded_trials("crossmodalnet", rendered("default")) == []
