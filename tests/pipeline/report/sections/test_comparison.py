import copy
import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.config import presets
from pipeline.evaluation.profile import read_profile
from pipeline.report.artefacts import gather
from pipeline.report.charts import colour_of
from pipeline.report.sections import comparison
from pipeline.report.sections.comparison import judge, recorded_trials, section
from pipeline.training.tuning import TrialResult
from tests.pipeline.report.conftest import num_marks

OURS = "crossmodalnet"
PRESETS = presets.rendered()
RECORDED = pd.read_csv(comparison.FILE)


@pytest.mark.usefixtures("blank_charts")
def test_statements_are_grouped_by_measure_under_who_is_first(project):
    rows = [
        ("", "weak", "underpowered", "models"), ("", "weak", "underpowered", "ablations"), ("nsd", "n1", "first", ""),
        ("hd95_mm", "h", "not_supported", "models"), ("dice", "d1", "not_first", ""),
        ("dice", "d2", "supported", "models"), ("dice", "a1", "supported", "ablations"),
    ]  # fmt: skip
    statements = [dict(zip(("metric", "text", "kind", "family"), row, strict=True)) for row in rows]
    (project / "comparison/statements.json").write_text(json.dumps(statements))
    content = section(gather(project))
    assert [s["text"] for s in content["standings"]] == ["d1", "weak"]
    groups = {title: [s["text"] for s in group] for title, group in content["by_metric"].items()}
    assert groups == {"Dice": ["d2"], "HD95": ["h"], "NSD": ["n1"]}


@pytest.mark.usefixtures("blank_charts")
def test_tests_are_printed_by_measure_and_family(project):
    test = (-0.0123, -0.02, 0.004, 0.0625, 0.25, -0.6, "underpowered")
    pairwise = [("dice", OURS, name, *test) for name in ("mednext", f"{OURS}-no_cross")]
    for name, rows in (("pairwise", pairwise), ("all_pairs", [("dice", "mednext", "atlas", *test)])):
        frame = pd.DataFrame(rows, columns=list(comparison.TEST_COLUMNS))
        frame.to_csv(project / f"comparison/{name}.csv", index=False)
    content = section(gather(project))
    title = "Dice (above 0: a is better)"
    assert list(content["differences"]) == [title, f"Everyone against everyone, {title}"]
    table, everyone = content["differences"].values()
    (row,) = table.rows  # without the ablation, which has its section
    assert row[:4] == ["CrossModalNet", "MedNeXt", "−0.012", "−0.020 to +0.004"]
    assert row[4:] == ["0.0625", "0.25", "−0.60", "underpowered"]
    assert table.numeric == [False, False, True, True, True, True, True, False]
    assert everyone.rows[0][:2] == ["MedNeXt", "Atlas baseline"]


def test_settings_that_differ_between_cards_are_listed(artefacts):
    assert comparison.departures(artefacts.cards) == []
    cards = {
        key: {**card, "augment": {"enabled": key[0] == OURS}, "train": {**card["train"], "lr": key[1]}}
        for key, card in artefacts.cards.items()
    }
    assert comparison.departures(cards) == ["augment.enabled (True: CrossModalNet; False: MedNeXt)"]
    del cards["mednext", 3]["augment"]
    assert "absent: MedNeXt" in comparison.departures(cards)[0]
    long = {key: {**card, "data_fingerprint": f"{key[0]}{'x' * 40}"} for key, card in artefacts.cards.items()}
    assert f"crossmodalnet{'x' * 24}...: CrossModalNet" in comparison.departures(long)[0]


def test_ranks_are_a_dot_per_measure_and_method(artefacts):
    columns = ("metric", "method", "rank", "low", "high")
    chart = comparison.rank_chart(artefacts, comparison.read_compared(artefacts, "ranks.csv", columns))
    for name in (OURS, "mednext", "atlas"):
        assert num_marks(chart, colour_of(artefacts.models, name)) == 3


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"metric": "dice", "text": "a"}]'])
def test_statements_of_another_form_are_rejected(project, content):
    (project / "comparison/statements.json").write_text(content)
    with pytest.raises(DataError, match=r"must hold a list of objects with metric, text, kind"):
        section(gather(project))


def trials(**dice):
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
def test_a_rate_of_2_is_judged(tried, is_best, finding):
    assert judge(2.0, trials(**tried)) == (is_best, finding)


def test_tuned_network_off_its_best_is_warned_of_and_untuned_one_is_listed(project):
    for path in (project / "tuning").glob("*/*"):
        path.unlink()
    for trial in trials(**{"lr0.001": 0.5, "lr0.002": 0.9, "lr0.004": 0.6}):
        (project / f"tuning/crossmodalnet/{trial.lr}.json").write_text(json.dumps(asdict(trial)))
    content = comparison.rate_table(gather(project))
    assert content["rate_warnings"] == ["CrossModalNet runs at 0.001: not the best tried, 0.002 was better."]
    assert content["untuned"] == ["MedNeXt"]
    rows = content["rates"].rows
    assert rows[0][1:4] == ["0.001", "0.001 (0.500), 0.002 (0.900), 0.004 (0.600)", "5"]
    assert rows[1] == ["MedNeXt", "0.001", "–", "–", "not tuned"]


@pytest.mark.parametrize("preset", sorted(set(RECORDED["preset"])))
def test_every_network_of_a_preset_runs_at_the_best_rate_recorded_for_it(preset):
    params = PRESETS[preset]
    for name in params["models"]:
        recorded = recorded_trials(name, params)
        is_best, finding = judge(params["network"][name]["lr"], recorded)
        assert is_best, f"{name}: {finding}"
        assert len({trial.epochs for trial in recorded}) == 1, f"{name}: trials of different length"
        assert all(trial.recorded for trial in recorded)


def test_the_record_names_the_settings_of_its_preset():
    for row in RECORDED.to_dict("records"):
        # Run `python -m tools.recorded_rates` where the recorded rates hold for the presets as they are now.
        assert row["settings"] == comparison.settings_digest(row["model"], PRESETS[row["preset"]])


def test_other_rate_or_budget_keeps_the_record():
    params = copy.deepcopy(PRESETS["compare"])
    params["network"]["mednext"]["lr"] = 0.3
    params["train"]["epochs"] = 99
    assert len(recorded_trials("mednext", params)) == 4


@pytest.mark.parametrize(
    ("section", "key", "value"), [("train", "batch_size", 1), ("crop", "spacing_mm", None), ("network", "mednext", {})]
)
def test_other_settings_void_the_record(section, key, value):
    params = copy.deepcopy(PRESETS["compare"])
    assert key in params[section]
    params[section][key] = value
    assert recorded_trials("mednext", params) == []


@pytest.mark.usefixtures("blank_charts")
def test_costs_are_printed_with_their_units(project):
    path = project / "profile/mednext.json"
    changes = {
        "parameters": 5_558_856, "flops": 255_800_000_000, "step_memory_mb": 1234.5, "inference_memory_mb": 99.6,
        "step_seconds": {"median": 0.35, "low": 0.3412, "high": 0.4},
        "step_ratio": {"median": 1.251, "low": 1.0, "high": 2.0},
        "inference_seconds": {"median": 12.34, "low": 12.0, "high": 13.0},
    }  # fmt: skip
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}))
    content = comparison.costs_section(gather(project))
    times = ["0.35 (0.341 to 0.4)", "1.25", "1,234", "12.3 (12 to 13)", "100"]
    assert content["table"].rows[1] == ["MedNeXt", "5.56", "255.8", *times]
    assert content["settings"] == ["a processor, 2 threads, batches of 2 patches of 48 × 48 × 48 voxels"]


def test_network_without_defined_dice_is_not_drawn_against_its_costs(artefacts):
    scores = artefacts.scores.copy()
    scores.loc[("mednext", "dice", "mean")] = np.nan
    profiles = {name: read_profile(name, artefacts.top) for name in artefacts.models}
    chart = comparison.cost_chart(replace(artefacts, scores=scores), profiles)
    points = [num_marks(chart, colour_of(artefacts.models, name)) for name in artefacts.models]
    assert points[0] > points[1] == 1  # its entry in the legend
