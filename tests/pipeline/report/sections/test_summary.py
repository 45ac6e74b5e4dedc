from dataclasses import replace

import pandas as pd
import pytest

from pipeline.report.artefacts import Artefacts
from pipeline.report.sections.summary import not_first, section, standing

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


def test_the_atlas_is_no_network(artefacts: Artefacts) -> None:
    assert not_first(with_means(artefacts, crossmodalnet=(0.2, 0.1, 99.0), mednext=(0.1, 0.0, 100.0))) == []


def test_few_methods_have_a_card_each(artefacts: Artefacts) -> None:
    content = section(artefacts)
    assert [card["title"] for card in content["cards"]] == ["CrossModalNet", "MedNeXt", "Atlas baseline"]
    assert content["cards"][2]["gain"] == ""
    assert len(content["sentences"]) == 3


def test_of_many_only_the_reference_and_the_best_other_have_one(
    artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.report.sections.summary.claims_sentence", lambda _: "")
    changed = with_means(
        artefacts, crossmodalnet=(0.7, 0.5, 4), mednext=(0.6, 0.5, 4), nnformer=(0.9, 0.5, 4)
    )
    cards = section(changed)["cards"]
    assert [card["title"] for card in cards] == ["CrossModalNet", "nnFormer"]
    assert cards[1]["gain"].startswith("best of the 2 others in Dice; +0.")


def test_cases_in_which_a_network_beats_the_atlas_are_counted(alone: Artefacts) -> None:
    cases = alone.cases.copy()
    cases.loc[(cases["method"] == "atlas") & (cases["pair"] == "ct_1001+mr_1004"), "dice"] = 1.0
    (sentence,) = section(replace(alone, cases=cases))["sentences"]
    assert "higher mean Dice than the atlas baseline in 4 of 5 test cases; its largest mean HD95" in sentence


def test_a_network_that_is_alone_is_not_called_first(alone: Artefacts) -> None:
    assert not_first(alone) == []
