from dataclasses import replace

import pandas as pd
import pytest

from pipeline.report.artefacts import Artefacts
from pipeline.report.sections.training import curve_chart, kept_row, objectives, overview_chart, section
from tests.pipeline.report.pictures import num_lines


@pytest.fixture
def curve(artefacts: Artefacts) -> pd.DataFrame:
    return artefacts.curves["crossmodalnet", 0]


def test_weights_kept_are_those_of_the_card_else_of_the_best_epoch(curve: pd.DataFrame) -> None:
    curve = curve.assign(val_dice=0.5)
    curve.loc[9, "val_dice"] = 0.7  # epoch 10
    assert [kept_row(curve, card) for card in ({"best_epoch": 4}, {})] == [3, 9]


def test_every_objective_is_drawn(curve: pd.DataFrame) -> None:
    assert objectives(curve.assign(loss_topology=1.0, weight_topology=0.2), "loss_") == {
        "loss_dice": "Dice loss", "loss_ce": "cross-entropy", "loss_topology": "topology",
    }  # fmt: skip


def test_flow_penalty_is_a_loss_but_no_balancing_weight(curve: pd.DataFrame) -> None:
    plain = num_lines(curve_chart([curve], {}))
    penalised = curve_chart([curve.assign(loss_cmif=0.4, weight_cmif=0.05)], {})
    assert num_lines(penalised) == plain + 2  # a line and its entry in the legend


def test_every_further_seed_is_one_more_line(curve: pd.DataFrame) -> None:
    assert num_lines(curve_chart([curve, curve], {})) == num_lines(curve_chart([curve], {})) + 1


def test_curve_of_a_single_epoch_is_drawn(curve: pd.DataFrame) -> None:
    assert num_lines(curve_chart([curve.iloc[:1]], {})) > 4


def test_overview_has_a_line_per_model_and_seed(artefacts: Artefacts) -> None:
    ours = {key: curve for key, curve in artefacts.curves.items() if key[0] == "crossmodalnet"}
    one = overview_chart(replace(artefacts, models=["crossmodalnet"], curves=ours))
    assert num_lines(overview_chart(artefacts)) == num_lines(one) + 2 + 1  # two seeds, and the legend


@pytest.mark.usefixtures("blank_charts")
def test_duration_and_memory_are_printed_where_recorded(alone: Artefacts) -> None:
    curve = alone.curves["crossmodalnet", 0][["epoch", "loss", "lr", "val_dice"]]
    measured = curve.assign(seconds=6.0, samples_per_second=2.5, peak_memory_mb=2048)
    for shown, text in (
        (curve, "30 epochs"),
        (measured, "30 epochs, 3.0 minutes, 2.5 samples a second, 2.0 GB at most"),
    ):
        content = section(replace(alone, curves={("crossmodalnet", 0): shown}))
        assert content["overview"] == ""
        assert content["trainings"][0][::2] == ("CrossModalNet", text)
