import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.scores import score_table
from pipeline.comparison.tables import (
    bar_table,
    escape,
    latex_table,
    markdown_tables,
    plot_table,
    print_summary,
    wide_table,
)
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases


@pytest.fixture
def scores(cases: Cases) -> pd.DataFrame:
    dice = {"crossmodalnet": 0.8, "my_net": 0.9, "atlas": 0.5, "crossmodalnet-ct_only": 0.95}
    methods = {name: cases([[value - 0.1], [value]]) for name, value in dice.items()}
    return score_table(methods, CompareConfig(bootstrap_samples=200))


def test_a_row_per_method_and_a_column_per_metric(scores: pd.DataFrame) -> None:
    table = wide_table(scores).set_index("method")
    assert table.loc["my_net", ["dice", "dice_low", "dice_high", "dice_PA"]].tolist() == pytest.approx(
        [0.85, 0.8, 0.9, 0.85]
    )
    assert table.loc["atlas", "hd95_mm"] == pytest.approx(5.5)
    assert table.loc["atlas", ["num_subjects", "num_seeds"]].tolist() == [2, 1]


def test_bars_leave_ablations_out(scores: pd.DataFrame) -> None:
    bars = bar_table(scores)
    assert list(bars.columns) == ["structure", "method", "metric", "mean", "low", "high"]
    assert set(bars["method"]) == {"crossmodalnet", "my_net", "atlas"}
    plots = plot_table(scores)
    assert plots["structure"].tolist() == [name for name in (*ABBREVIATIONS, "mean") for _ in range(3)]
    assert plots["method"].tolist()[:3] == ["CrossModalNet", "my_net", "Atlas baseline"]
    assert plots.loc[0, ["dice", "iou_low", "assd_mm_high"]].tolist() == pytest.approx([0.75, 7 / 13, 1.5])


def test_latex_marks_the_best_model_and_not_the_ablation(scores: pd.DataFrame) -> None:
    text = latex_table(wide_table(scores))
    assert text.count(r"\textbf{0.850}") == 1 + 1 + 7  # Dice, NSD, Dice per structure
    assert r"\textbf{0.900}" not in text
    assert r"\textbf{1.5}" in text  # HD95 of my_net, the lowest of the models
    assert r"{\tiny [0.800, 0.900]}" in text
    assert "2 test pairs; each network trained with 1 seed." in text
    assert (
        text.index("Atlas baseline")
        < text.index(r"\midrule", text.index("Atlas baseline"))
        < text.index("CT only")
    )


def test_latex_is_balanced_and_escaped(scores: pd.DataFrame) -> None:
    text = latex_table(wide_table(scores))
    assert r"my\_net" in text
    assert text.count("{") == text.count("}")
    for environment in ("table*", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") > 0
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l c*|lc*)\}(.*?)\\end\{tabular\}", text, re.S):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {line.count(" & ") + 1 for line in rows} == {len(columns)}


def test_special_characters_are_escaped() -> None:
    assert escape(r"a_b & 5% {x} \ ~") == r"a\_b \& 5\% \{x\} \textbackslash{} \textasciitilde{}"


def test_undefined_numbers_are_dashes_and_never_best(scores: pd.DataFrame) -> None:
    table = wide_table(scores)
    table.loc[table["method"] == "my_net", "hd95_mm"] = np.nan
    lines = latex_table(table).splitlines()
    row = next(line for line in lines if line.startswith(r"my\_net"))
    assert row.split(" & ")[3] == "--"
    assert r"\textbf{2.5}" in next(line for line in lines if line.startswith("CrossModalNet "))


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


HEADER = "method,structure,metric,mean,low,high,num_subjects,num_seeds"
OTHERS = {"iou": 0.81, "hd95_mm": 4.25, "nsd": 0.9}


def add(top: Path, method: str, dice: float, seeds: int = 2) -> None:
    (top / "comparison").mkdir(exist_ok=True)
    path = top / "comparison/scores.csv"
    lines = path.read_text("utf-8").splitlines() if path.exists() else [HEADER]
    for metric, value in {"dice": dice, **OTHERS}.items():
        lines += [
            f"{method},mean,{metric},{value},{value - 0.1},{value + 0.05},5,{seeds}",
            f"{method},LV,{metric},0,0,0,5,1",
        ]
    path.write_text("\n".join(lines) + "\n")
    names = ["atlas"] if method == "atlas" else [f"{method}/seed{seed}" for seed in range(seeds)]
    for name in names:
        (top / "metrics" / name).parent.mkdir(parents=True, exist_ok=True)
        (top / "metrics" / f"{name}.json").write_text(json.dumps({"missed": 2}))


def printed(top: Path) -> list[str]:
    stream = io.StringIO()
    print_summary(Console(file=stream, width=100), top)
    return stream.getvalue().splitlines()


def test_models_then_ablations_then_the_atlas_then_the_report(tmp_path: Path) -> None:
    for name, dice in (
        ("atlas", 0.7),
        ("crossmodalnet-no_cross", 0.5),
        ("crossmodalnet", 0.9),
        ("mine", 0.1),
    ):
        add(tmp_path, name, dice)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").touch()
    *_, model, mine, ablation, atlas, report = printed(tmp_path)
    assert model.replace("│", "").split() == [
        "CrossModalNet",
        "0.900",
        "[0.800,",
        "0.950]",
        "0.810",
        "4.2",
        "0.900",
        "4",
    ]
    assert mine.split()[0] == "mine"
    assert "0.500" in ablation
    assert "Atlas baseline" in atlas
    assert atlas.split()[-1] == "2"
    assert report == f"Report: {(tmp_path / 'report' / 'index.html').resolve()}"


def test_without_report(tmp_path: Path) -> None:
    add(tmp_path, "mine", 0.5)
    assert printed(tmp_path)[-1].endswith("is missing: run `dvc repro`")


def test_nothing_compared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro"):
        print_summary(Console(file=io.StringIO()), tmp_path)


@pytest.mark.parametrize("width", [20, 40, 60, 72])
def test_a_narrow_terminal_cuts_no_number(tmp_path: Path, width: int) -> None:
    add(tmp_path, "crossmodalnet", 0.9)
    add(tmp_path, "atlas", 0.7)
    stream = io.StringIO()
    print_summary(Console(file=stream, width=width), tmp_path)
    text = stream.getvalue()
    assert "…" not in text
    for value in ("0.900 [0.800, 0.950]", "0.810", "4.2", "0.700 [0.600, 0.750]", "Atlas baseline"):
        assert value in text


def test_a_page_that_is_a_link_keeps_its_own_name(tmp_path: Path) -> None:
    add(tmp_path, "crossmodalnet", 0.9)
    (tmp_path / "report").mkdir()
    (tmp_path / "cached").touch()
    (tmp_path / "report/index.html").symlink_to(tmp_path / "cached")
    assert printed(tmp_path)[-1].endswith("report/index.html")
