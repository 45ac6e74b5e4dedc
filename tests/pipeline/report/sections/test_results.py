from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.report.charts import colour_of
from pipeline.report.sections import results
from tests.pipeline.report.conftest import num_marks, text_of

OURS = "crossmodalnet"


def test_bars_are_one_per_structure_and_mean_and_method(artefacts):
    chart = results.bar_chart(artefacts, ("hd95_mm",))
    for name in artefacts.methods:  # and one in the legend
        assert num_marks(chart, colour_of(artefacts.models, name), "path") == 8 + 1


def test_undefined_structure_has_no_bar(alone):
    scores = alone.scores.copy()
    scores.loc[(OURS, "dice", "PA")] = np.nan
    chart = results.bar_chart(replace(alone, scores=scores), ("dice",))
    assert num_marks(chart, colour_of(alone.models, OURS), "path") == 7 + 1


@pytest.mark.parametrize("key", ["dice", "hd95_mm"])
def test_structure_that_is_undefined_in_all_cases_has_no_box(alone, key):
    cases = alone.cases.copy()
    cases.loc[cases["structure"] == "AO", key] = np.nan
    charts = [text_of(results.box_plot(shown, key)) for shown in (alone, replace(alone, cases=cases))]
    assert charts[0].count("<path") > charts[1].count("<path")


def test_pictures_are_the_same_bytes_every_time_and_carry_no_date(alone):
    chart = results.bar_chart(alone, ("dice", "iou"))
    assert chart == results.bar_chart(alone, ("dice", "iou"))
    assert "dc:date" not in text_of(chart)


@pytest.mark.usefixtures("blank_charts")
def test_every_case_has_its_mean_dice_and_hd95(alone):
    shown = results.cases_section(alone)
    assert list(shown["tables"]) == ["Dice", "HD95, mm"]
    table = shown["tables"]["Dice"]
    assert table.headings == ["Pair", "CrossModalNet", "Atlas baseline"]
    assert [row[0] for row in table.rows] == sorted(alone.images)
    mean = alone.case_means("dice").loc["ct_1002+mr_1005", "atlas"]
    assert table.rows[1][2] == f"{mean:.3f}"
    assert shown["cut"]
    missed = alone.cases.assign(dice=0.0)  # then the axis starts at 0, and nothing says otherwise
    assert not results.cases_section(replace(alone, cases=missed))["cut"]


def with_means(artefacts, **means):
    """Networks with these mean Dice, IoU and HD95."""
    index = ["method", "metric", "structure"]
    scores = artefacts.scores.rename_axis(index)
    parts = [scores.xs("atlas", drop_level=False)]
    for name, values in means.items():
        own = scores.xs(OURS, drop_level=False).rename({OURS: name}, level=0)
        for key, mean in zip(("dice", "iou", "hd95_mm"), values, strict=True):
            own.loc[(name, key, "mean"), "mean"] = mean
        parts.append(own)
    return replace(artefacts, models=list(means), scores=pd.concat(parts))


def test_sentence_lists_what_the_reference_is_first_in(artefacts):
    means = {OURS: (0.8, 0.7, 4.0), "mednext": (0.9, 0.6, 5.0)}
    changed = with_means(artefacts, **means)
    assert results.not_first(changed) == ["Dice"]
    said = "Among 2 networks, CrossModalNet is first in MIoU and HD95 and not first in Dice."
    assert results.standing(changed) == said
    said = "Among 2 networks, MedNeXt is first in Dice and not first in MIoU and HD95."
    assert results.standing(with_means(artefacts, **dict(reversed(means.items())))) == said


def test_of_many_only_the_reference_and_the_best_other_have_one(artefacts, monkeypatch):
    monkeypatch.setattr("pipeline.report.sections.results.claims_sentence", lambda _: "")
    means = {OURS: (0.7, 0.5, 4), "mednext": (0.6, 0.5, 4), "nnformer": (0.9, 0.5, 4)}
    cards = results.summary_section(with_means(artefacts, **means))["cards"]
    assert [card["title"] for card in cards] == ["CrossModalNet", "nnFormer"]
    assert cards[1]["gain"].startswith("best of the 2 others in Dice; +0.")


def test_cases_in_which_a_network_beats_the_atlas_are_counted(alone):
    cases = alone.cases.copy()
    cases.loc[(cases["method"] == "atlas") & (cases["pair"] == "ct_1001+mr_1004"), "dice"] = 1.0
    (sentence,) = results.summary_section(replace(alone, cases=cases))["sentences"]
    assert "higher mean Dice than the atlas baseline in 4 of 5 test cases; its largest mean HD95" in sentence
