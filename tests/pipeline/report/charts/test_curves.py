import base64
from dataclasses import replace

import pandas as pd

from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Training
from pipeline.report.charts.curves import curve_chart, kept_row, named, overview_chart


def num_lines(source: str) -> int:
    return base64.b64decode(source.partition(",")[2]).decode().count('id="line2d_')


def with_curve(training: Training, curve: pd.DataFrame) -> Training:
    return replace(training, curves={0: curve}, cards={0: training.card})


def test_weights_kept_are_those_of_the_card_else_of_the_best_epoch(artefacts: Artefacts) -> None:
    training = artefacts.trainings[0]
    curve = training.curve.assign(val_dice=0.5).astype({"val_dice": float})
    curve.loc[9, "val_dice"] = 0.7  # epoch 10
    kept = [kept_row(Training("m", {0: curve}, {0: card})) for card in ({"best_epoch": 4}, {})]
    assert kept == [3, 9]


def test_every_objective_is_drawn(artefacts: Artefacts) -> None:
    curve = artefacts.trainings[0].curve.assign(loss_topology=1.0, weight_topology=0.2)
    assert named(curve, "loss_") == {
        "loss_dice": "Dice loss", "loss_ce": "cross-entropy", "loss_topology": "topology",
    }  # fmt: skip


def test_the_flow_penalty_is_a_loss_but_no_balancing_weight(artefacts: Artefacts) -> None:
    training = artefacts.trainings[0]
    plain = num_lines(curve_chart(with_curve(training, training.curve)))
    curve = training.curve.assign(loss_cmif=0.4, weight_cmif=0.05)
    assert (
        num_lines(curve_chart(with_curve(training, curve))) == plain + 2
    )  # a line and its entry in the legend


def test_every_further_seed_is_one_more_line(artefacts: Artefacts) -> None:
    training = artefacts.trainings[0]
    alone = with_curve(training, training.curve)
    assert list(training.curves) == [0, 3]
    assert num_lines(curve_chart(training)) == num_lines(curve_chart(alone)) + 1


def test_overview_has_a_line_per_model_and_seed(artefacts: Artefacts) -> None:
    both, one = overview_chart(artefacts.trainings), overview_chart(artefacts.trainings[:1])
    assert num_lines(both) == num_lines(one) + 2 + 1  # two seeds, and the legend


def test_curve_of_a_single_epoch_is_drawn(artefacts: Artefacts) -> None:
    training = artefacts.trainings[0]
    assert num_lines(curve_chart(with_curve(training, training.curve.iloc[:1]))) > 4
