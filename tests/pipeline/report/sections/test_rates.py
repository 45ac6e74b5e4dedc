import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.config import presets
from pipeline.report.artefacts import gather
from pipeline.report.sections.rates import FILE, judge, rate_table, recorded_trials, settings_digest
from pipeline.training.tuning import TrialResult

PRESETS = presets.rendered()


def trials(**dice: float) -> list[TrialResult]:
    return [TrialResult("x", float(lr.removeprefix("lr")), value, 5) for lr, value in dice.items()]


@pytest.mark.parametrize(
    ("tried", "is_best", "finding"),
    [
        ({}, False, "not tuned"),
        ({"lr1": 0.5, "lr2": 0.7, "lr3": 0.6}, True, "best of 3 tried"),
        ({"lr2": 0.7, "lr3": 0.6, "lr4": 0.6}, True, "best of 3 tried, the lowest"),
        ({"lr0": 0.1, "lr1": 0.6, "lr2": 0.7}, True, "best of 3 tried, the highest"),
        ({"lr1": 0.5, "lr2": 0.7}, False, "best of 2 tried, fewer than 3"),
        ({"lr1": 0.8, "lr2": 0.7, "lr3": 0.6}, False, "not the best tried, 1 was better"),
        ({"lr1": 0.8, "lr3": 0.6, "lr4": 0.6}, False, "not one of those tried, of which 1 was best"),
    ],
)
def test_a_rate_of_2_is_judged(tried: dict[str, float], is_best: bool, finding: str) -> None:
    assert judge(2.0, trials(**tried)) == (is_best, finding)


def test_tuned_network_off_its_best_is_warned_of_and_untuned_one_is_listed(project: Path) -> None:
    for folder in ("crossmodalnet", "mednext"):
        for path in (project / "tuning" / folder).iterdir():
            path.unlink()
    for trial in trials(**{"lr0.001": 0.5, "lr0.002": 0.9, "lr0.004": 0.6}):
        path = project / f"tuning/crossmodalnet/{trial.lr}.json"
        path.write_text(json.dumps(asdict(trial)))
    content = rate_table(gather(project))
    assert content["rate_warnings"] == ["CrossModalNet runs at 0.001: not the best tried, 0.002 was better."]
    assert content["untuned"] == ["MedNeXt"]
    rows = content["rates"].rows
    assert rows[0][1:4] == ["0.001", "0.001 (0.500), 0.002 (0.900), 0.004 (0.600)", "5"]
    assert rows[1] == ["MedNeXt", "0.001", "–", "–", "not tuned"]


def rendered(preset: str) -> dict[str, Any]:
    return copy.deepcopy(PRESETS[preset])


@pytest.mark.parametrize("preset", sorted(set(pd.read_csv(FILE)["preset"])))
def test_every_network_of_a_preset_runs_at_the_best_rate_recorded_for_it(preset: str) -> None:
    params = rendered(preset)
    for name in params["models"]:
        trials = recorded_trials(name, params)
        is_best, finding = judge(params["network"][name]["lr"], trials)
        assert is_best, f"{name}: {finding}"
        assert len({trial.epochs for trial in trials}) == 1, (
            f"{name}: trials of different length are not compared"
        )
        assert all(trial.recorded for trial in trials)


def test_the_record_names_the_settings_of_its_preset() -> None:
    for row in pd.read_csv(FILE).to_dict("records"):
        assert row["settings"] == settings_digest(row["model"], PRESETS[row["preset"]]), (
            "run `python -m tools.recorded_rates` where the recorded rates hold for the presets as they are now"
        )


def test_other_rate_or_budget_keeps_the_record() -> None:
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
