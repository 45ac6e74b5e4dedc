import numpy as np
import pandas as pd

from pipeline.report.artefacts.results import Estimate, Result
from pipeline.report.charts.tables import (
    Cell,
    enumerate_words,
    flatten,
    frame_table,
    metric_cells,
    total_cut_voxels,
)


def method(name: str, **means: float) -> Result:
    estimates = {(key, "LV"): Estimate(mean, mean - 0.1, mean + 0.1) for key, mean in means.items()}
    return Result(name, estimates, pd.DataFrame(), 0, 0, {})


def test_best_is_highest_overlap_and_lowest_distance() -> None:
    cells = metric_cells([method("a", dice=0.9, hd95_mm=4.0), method("b", dice=0.8, hd95_mm=3.0)], "LV")
    assert [cell.best for cell in cells["a"][:3]] == [True, False, False]
    assert [cell.best for cell in cells["b"][:3]] == [False, False, True]


def test_methods_equal_in_print_are_both_best() -> None:
    cells = metric_cells([method("a", dice=0.90004), method("b", dice=0.90001)], "LV")
    assert cells["a"][0] == cells["b"][0] == Cell("0.900", "0.800 to 1.000", best=True)


def test_a_single_value_is_not_called_best_and_an_absent_one_is_a_dash() -> None:
    cells = metric_cells([method("a", dice=0.9), method("b")], "LV")
    assert cells["a"][0] == Cell("0.900", "0.800 to 1.000")
    assert cells["b"][0] == Cell("–")


def test_frame_is_printed_with_units_and_dashes() -> None:
    frame = pd.DataFrame(
        {"pair": ["a+b"], "label_dice": [np.nan], "negative_jacobian_share": [0.0123], "attempts": [2]}
    )
    table = frame_table(frame)
    assert table.headings == ["Pair", "Label Dice", "Folded voxels", "Attempts"]
    assert table.numeric == [False, True, True, True]
    assert table.rows == [["a+b", "–", "1.23%", "2"]]


def test_cut_voxels_are_added_over_pairs_and_structures_without_totals() -> None:
    crop = pd.DataFrame({"pair": ["p", "q"], "cut_LV": [3, 0], "cut_PA": [4, 5], "cut_total": [7, 5]})
    assert total_cut_voxels(crop) == 12


def test_nested_mapping_becomes_dotted_keys() -> None:
    content = {"a": {"b": 1e-05, "c": [1, 2]}, "d": None, "e": [{"f": 1}, {"f": 2}]}
    assert flatten(content) == [
        ("a.b", "1e-05"),
        ("a.c", "1, 2"),
        ("d", "–"),
        ("e[0].f", "1"),
        ("e[1].f", "2"),
    ]


def test_words_are_enumerated() -> None:
    assert [enumerate_words(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
