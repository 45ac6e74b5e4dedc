from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.metrics.scores import METRICS
from pipeline.report.tables import Cell, enumerate_words, flatten, frame_table, interval, score_cells, signed

NAN = float("nan")


def cells(artefacts, **means):
    """Print LV's scores of our network and the atlas; those not given are undefined."""
    keys = [metric.key for metric in METRICS]
    index = pd.MultiIndex.from_product([["crossmodalnet", "atlas"], keys, ["LV"]])
    scores = pd.DataFrame(np.nan, index, ["mean", "low", "high"])
    for key, values in means.items():
        for method, mean in zip(("crossmodalnet", "atlas"), values, strict=True):
            scores.loc[(method, key, "LV")] = (mean, mean - 0.1, mean + 0.1)
    return score_cells(replace(artefacts, models=["crossmodalnet"], scores=scores), "LV")


def test_best_is_highest_overlap_and_lowest_distance(artefacts):
    ours, atlas = cells(artefacts, dice=[0.9, 0.8], hd95_mm=[4.0, 3.0]).values()
    assert [cell.best for cell in ours[:3]] == [True, False, False]
    assert [cell.best for cell in atlas[:3]] == [False, False, True]


def test_methods_equal_in_print_are_both_best(artefacts):
    printed = cells(artefacts, dice=[0.90004, 0.90001])
    assert printed["crossmodalnet"][0] == printed["atlas"][0] == Cell("0.900", "0.800 to 1.000", True)


def test_a_single_value_is_not_called_best_and_an_absent_one_is_a_dash(artefacts):
    printed = cells(artefacts, dice=[0.9, NAN])
    assert printed["crossmodalnet"][0] == Cell("0.900", "0.800 to 1.000", False)
    assert printed["atlas"][0] == Cell("–", "", False)


def test_frame_is_printed_with_units_and_dashes():
    row = {"pair": "a+b", "label_dice": NAN, "negative_jacobian_share": 0.0123, "attempts": 2, "box_mm": None}
    table = frame_table(pd.DataFrame([row]))
    assert table.headings == ["Pair", "Label Dice", "Folded voxels", "Attempts", "Box, mm"]
    assert table.numeric == [False, True, True, True, False]
    assert table.rows == [["a+b", "–", "1.23%", "2", "–"]]


@pytest.mark.parametrize(("value", "text"), [(0.25, "+0.2"), (-1.26, "−1.3"), (-0.01, "+0.0"), (NAN, "–")])
def test_signs_are_printed_but_no_minus_zero(value, text):
    assert signed(value, 1) == text


def test_intervals_are_printed_with_signs_or_without():
    assert interval(-0.1, 0.2, 1, sign=True) == "−0.1 to +0.2"
    assert interval(0.1, 0.2, 1) == "0.1 to 0.2"
    assert interval(0.1, NAN, 1) == "–"


def test_nested_mapping_becomes_dotted_keys():
    content = {"d": None, "a": {"b": 1e-05, "c": [1, 2]}}
    assert flatten(content) == [("d", "–"), ("a.b", "1e-05"), ("a.c", "1, 2")]


def test_words_are_enumerated():
    assert [enumerate_words(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
