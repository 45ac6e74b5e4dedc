from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.report.artefacts import Artefacts
from pipeline.report.charts import colour_of
from pipeline.report.sections.results import (
    bar_chart,
    box_plot,
    cases_section,
    not_first,
    standing,
    summary_section,
)
from tests.pipeline.report.pictures import num_marks, text_of


def test_bars_are_one_per_structure_and_mean_and_method(artefacts: Artefacts) -> None:
    chart = bar_chart(artefacts, ("hd95_mm",))
    for name in artefacts.methods:  # and one in the legend
        assert num_marks(chart, colour_of(artefacts.models, name), "path") == 8 + 1


def test_undefined_structure_has_no_bar(alone: Artefacts) -> None:
    scores = alone.scores.copy()
    scores.loc[("crossmodalnet", "dice", "PA")] = np.nan
    chart = bar_chart(replace(alone, scores=scores), ("dice",))
    assert num_marks(chart, colour_of(alone.models, "crossmodalnet"), "path") == 7 + 1


@pytest.mark.parametrize("key", ["dice", "hd95_mm"])
def test_structure_that_is_undefined_in_all_cases_has_no_box(alone: Artefacts, key: str) -> None:
    cases = alone.cases.copy()
    cases.loc[cases["structure"] == "AO", key] = np.nan
    charts = [text_of(box_plot(shown, key)) for shown in (alone, replace(alone, cases=cases))]
    assert charts[0].count("<path") > charts[1].count("<path")


def test_pictures_are_the_same_bytes_every_time_and_carry_no_date(alone: Artefacts) -> None:
    chart = bar_chart(alone, ("dice", "iou"))
    assert chart == bar_chart(alone, ("dice", "iou"))
    assert "dc:date" not in text_of(chart)


@pytest.mark.usefixtures("blank_charts")
def test_every_case_has_its_mean_dice_and_hd95(alone: Artefacts) -> None:
    table = cases_section(alone)["table"]
    assert table.headings == [
        "Pair", "Dice: CrossModalNet", "Dice: Atlas baseline", "HD95, mm: CrossModalNet", "HD95, mm: Atlas baseline",
    ]  # fmt: skip
    assert [row[0] for row in table.rows] == sorted(alone.images)
    mean = alone.case_means("dice").loc["ct_1002+mr_1005", "atlas"]
    assert table.rows[1][2] == f"{mean:.3f}"


KEYS = ("dice", "iou", "hd95_mm")


def with_means(artefacts: Artefacts, **means: tuple[float, float, float]) -> Artefacts:
    """Networks with these mean Dice, IoU and HD95."""
    names = list(means)
    scores = artefacts.scores.reset_index(names=["method", "metric", "structure"])
    ours = scores[scores["method"] == "crossmodalnet"]
    atlas = scores[scores["method"] == "atlas"]
    index = ["method", "metric", "structure"]
    tables = [ours.assign(method=name).set_index(index) for name in names] + [atlas.set_index(index)]
    for name, table in zip(names, tables, strict=False):
        for key, mean in zip(KEYS, means[name], strict=True):
            table.loc[(name, key, "mean"), "mean"] = mean
    return replace(artefacts, models=names, scores=pd.concat(tables))


def test_sentence_lists_what_the_reference_is_first_in(artefacts: Artefacts) -> None:
    means = {"crossmodalnet": (0.8, 0.7, 4.0), "mednext": (0.9, 0.6, 5.0)}
    changed = with_means(artefacts, **means)
    assert not_first(changed) == ["Dice"]
    assert (
        standing(changed)
        == "Among 2 networks, CrossModalNet is first in MIoU and HD95 and not first in Dice."
    )
    turned = with_means(artefacts, **dict(reversed(means.items())))
    assert standing(turned) == "Among 2 networks, MedNeXt is first in Dice and not first in MIoU and HD95."


def test_of_many_only_the_reference_and_the_best_other_have_one(
    artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.report.sections.results.claims_sentence", lambda _: "")
    changed = with_means(
        artefacts, crossmodalnet=(0.7, 0.5, 4), mednext=(0.6, 0.5, 4), nnformer=(0.9, 0.5, 4)
    )
    cards = summary_section(changed)["cards"]
    assert [card["title"] for card in cards] == ["CrossModalNet", "nnFormer"]
    assert cards[1]["gain"].startswith("best of the 2 others in Dice; +0.")


def test_cases_in_which_a_network_beats_the_atlas_are_counted(alone: Artefacts) -> None:
    cases = alone.cases.copy()
    cases.loc[(cases["method"] == "atlas") & (cases["pair"] == "ct_1001+mr_1004"), "dice"] = 1.0
    (sentence,) = summary_section(replace(alone, cases=cases))["sentences"]
    assert "higher mean Dice than the atlas baseline in 4 of 5 test cases; its largest mean HD95" in sentence
