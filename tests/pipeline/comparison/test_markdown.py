from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.comparison.tables import markdown_tables


def write(top: Path, name: str, rows: list[dict[str, object]]) -> None:
    (top / "comparison").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(top / "comparison" / name, index=False)


def means(method: str, title: str, group: str, dice: float) -> dict[str, object]:
    row: dict[str, object] = {"method": method, "title": title, "group": group}
    for key, value in {"dice": dice, "iou": 0.8, "hd95_mm": 2.54}.items():
        row |= {key: value, f"{key}_low": value - 0.01, f"{key}_high": value + 0.02}
    return row


def test_a_row_per_method_best_first_and_the_tests_of_the_first(tmp_path: Path) -> None:
    write(
        tmp_path,
        "table.csv",
        [means("atlas", "Atlas baseline", "atlas", 0.7), means("mine", "Mine", "model", 0.8),
         means("crossmodalnet", "CrossModalNet", "model", 0.9)],
    )  # fmt: skip
    test = {"low": 0.05, "high": 0.15, "num_pairs": 16}
    write(
        tmp_path,
        "pairwise.csv",
        [
            {"metric": "dice", "method_a": "crossmodalnet", "method_b": "mine", "difference": 0.1,
             "p_holm": 0.00002, "verdict": "supported", **test},
            {"metric": "nsd", "method_a": "crossmodalnet", "method_b": "mine", "difference": 0.1,
             "p_holm": 0.1, "verdict": "not_supported", **test},
            {"metric": "dice", "method_a": "mine", "method_b": "atlas", "difference": 0.3,
             "p_holm": 0.5, "verdict": "not_supported", **test},
        ],
    )  # fmt: skip
    table, tests = markdown_tables(tmp_path).split("\n\n")
    assert table.splitlines() == [
        "| method | Dice | MIoU | HD95, mm |",
        "| --- | --- | --- | --- |",
        "| CrossModalNet | 0.900 [0.890, 0.920] | 0.800 [0.790, 0.820] | 2.5 [2.5, 2.6] |",
        "| Mine | 0.800 [0.790, 0.820] | 0.800 [0.790, 0.820] | 2.5 [2.5, 2.6] |",
        "| Atlas baseline | 0.700 [0.690, 0.720] | 0.800 [0.790, 0.820] | 2.5 [2.5, 2.6] |",
    ]
    assert tests.splitlines()[2:] == [
        "| mine | +0.100 [+0.050, +0.150], p < 0.001 |  | +0.100 [+0.050, +0.150], p = 0.100, not supported |"
    ]


def test_an_adaptation_adds_its_share_of_the_gap_and_its_structures(tmp_path: Path) -> None:
    write(tmp_path, "table.csv", [means("crossmodalnet", "CrossModalNet", "model", 0.9)])
    write(tmp_path, "pairwise.csv", [{"metric": "dice", "method_a": "a", "method_b": "b"}])
    (tmp_path / "comparison/pairwise.csv").write_text("metric,method_a,method_b\n")
    scores = [
        {"method": method, "domain": domain, "structure": structure, "metric": metric,
         "mean": mean, "low": mean - 0.1, "high": mean + 0.1}
        for method, mean in (("crossmodalnet-source_only", 0.5), ("crossmodalnet", 0.7))
        for domain, structure, metric in (
            ("target", "mean", "dice"), ("target", "LV", "dice"), ("source", "mean", "dice"),
        )
    ]  # fmt: skip
    write(tmp_path, "adaptation.csv", scores)
    write(
        tmp_path,
        "gap.csv",
        [{"method": "crossmodalnet", "structure": "mean", "share": 0.78, "low": 0.45, "high": 0.94}],
    )
    write(
        tmp_path,
        "gap_seeds.csv",
        [
            {"method": "crossmodalnet", "structure": "mean", "seed": s, "dice": 0.7 + s / 100}
            for s in range(2)
        ],
    )
    _, gap, structures = markdown_tables(tmp_path).split("\n\n")
    assert gap.splitlines()[2:] == [
        "| Source only | 0.500 [0.400, 0.600] |  |  |  | 0.500 |",
        "| JADA | 0.700 [0.600, 0.800] | 0.700, 0.710 | 78% [45%, 94%] |  | 0.700 |",
    ]
    assert structures.splitlines()[0].startswith("| target Dice | LV | RV |")
    assert structures.splitlines()[3].startswith("| JADA | 0.700 |  |")


def test_nothing_compared_yet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `dvc repro`"):
        markdown_tables(tmp_path)
