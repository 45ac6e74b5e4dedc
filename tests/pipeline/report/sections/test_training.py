from dataclasses import replace

import pandas as pd
import pytest

from pipeline.report.artefacts import gather
from pipeline.report.sections import training
from pipeline.report.sections.training import curve_chart, overview_chart
from tests.pipeline.report.conftest import num_lines


@pytest.fixture
def curve(artefacts):
    return artefacts.curves["crossmodalnet", 0]


def test_weights_kept_are_those_of_the_card_else_of_the_best_epoch(curve):
    curve = curve.assign(val_dice=0.5)
    curve.loc[9, "val_dice"] = 0.7  # epoch 10
    assert [training.kept_row(curve, card) for card in ({"best_epoch": 4}, {})] == [3, 9]


def test_every_objective_is_drawn(curve):
    titles = {"loss_dice": "Dice loss", "loss_ce": "cross-entropy", "loss_topology": "topology"}
    assert training.objectives(curve.assign(loss_topology=1.0, weight_topology=0.2), "loss_") == titles


def test_flow_penalty_is_a_loss_but_no_balancing_weight(curve):
    plain = num_lines(curve_chart([curve], {}))
    penalised = curve_chart([curve.assign(loss_cmif=0.4, weight_cmif=0.05)], {})
    assert num_lines(penalised) == plain + 2  # a line and its entry in the legend


def test_overview_has_a_line_per_model_and_seed(artefacts):
    ours = {key: curve for key, curve in artefacts.curves.items() if key[0] == "crossmodalnet"}
    one = overview_chart(replace(artefacts, models=["crossmodalnet"], curves=ours))
    assert num_lines(overview_chart(artefacts)) == num_lines(one) + 2 + 1  # two seeds, and the legend


@pytest.mark.usefixtures("blank_charts")
def test_duration_and_memory_are_printed_where_recorded(alone, curve):
    curve = curve[["epoch", "loss", "lr", "val_dice"]]
    measured = curve.assign(seconds=6.0, samples_per_second=2.5, peak_memory_mb=2048)
    said = "30 epochs, 3.0 minutes, 2.5 samples a second, 2.0 GB at most"
    for shown, text in ((curve, "30 epochs"), (measured, said)):
        content = training.section(replace(alone, curves={("crossmodalnet", 0): shown}))
        assert content["overview"] == ""
        assert content["trainings"][0][::2] == ("CrossModalNet", text)


def test_cut_voxels_are_added_over_pairs_and_structures(project):
    path = project / "data/crop_qc.csv"
    crop = pd.read_csv(path)
    crop.loc[:1, ["cut_LV", "cut_PA"]] = [[3, 4], [0, 5]]
    crop.to_csv(path, index=False)
    assert training.split_section(gather(project))["num_cut"] == 12


def test_every_pair_has_its_checkerboard(artefacts):
    content = training.registration_section(artefacts)
    source, width, height = content["checkerboards"]["ct_1001+mr_1004"]
    assert source.startswith("data:image/jpeg;base64,")
    assert (width, height) == (440, 147)  # of 720 x 240
    assert len(content["checkerboards"]) == len(content["table"].rows) == 8


def test_versions_are_those_of_the_first_card(artefacts):
    card = {"versions": {"torch": "2.1"}, "device": "cpu", "epochs": 3}
    cards = {**artefacts.cards, ("crossmodalnet", 0): card}
    content = training.parameters_section(replace(artefacts, cards=cards))
    assert content["versions"].rows == [("torch", "2.1"), ("device", "cpu")]
    name, title, table = content["cards"][0]
    assert (name, title) == ("crossmodalnet", "CrossModalNet")
    assert set(table.rows) == {("versions.torch", "2.1"), ("device", "cpu"), ("epochs", "3")}
    assert content["params"].startswith("models: [crossmodalnet, mednext]")
