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
from pipeline.comparison import tables
from pipeline.comparison.scores import score_table
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases


@pytest.fixture
def scores(cases: Cases) -> pd.DataFrame:
    dice = {"crossmodalnet": 0.8, "my_net": 0.9, "atlas": 0.5, "crossmodalnet-ct_only": 0.95}
    methods = {name: cases([[value - 0.1], [value]]) for name, value in dice.items()}
    return score_table(methods, CompareConfig(bootstrap_samples=200))


def test_a_row_per_method_and_a_column_per_metric(scores: pd.DataFrame) -> None:
    table = tables.wide_table(scores).set_index("method")
    found = table.loc["my_net", ["dice", "dice_low", "dice_high", "dice_PA"]].tolist()
    assert found == pytest.approx([0.85, 0.8, 0.9, 0.85])
    assert table.loc["atlas", ["hd95_mm", "num_subjects", "num_seeds"]].tolist() == pytest.approx([5.5, 2, 1])


def test_plots_leave_ablations_out(scores: pd.DataFrame) -> None:
    plots = tables.plot_table(scores)
    assert plots["structure"].tolist() == [name for name in (*ABBREVIATIONS, "mean") for _ in range(3)]
    assert plots["method"].tolist()[:3] == ["CrossModalNet", "my_net", "Atlas baseline"]
    assert plots.loc[0, ["dice", "iou_low", "assd_mm_high"]].tolist() == pytest.approx([0.75, 7 / 13, 1.5])


def test_latex_marks_the_best_model_and_not_the_ablation(scores: pd.DataFrame) -> None:
    text = tables.latex_table(tables.wide_table(scores))
    assert text.count(r"\textbf{0.850}") == 1 + 1 + 7  # Dice, NSD, Dice per structure
    assert r"\textbf{0.900}" not in text
    assert r"\textbf{1.5}" in text  # HD95 of my_net, the lowest of the models
    assert r"{\tiny [0.800, 0.900]}" in text
    assert "2 test pairs; each network trained with 1 seed." in text
    assert re.search(r"Atlas baseline.*\\midrule.*CT only.*\\bottomrule.*Atlas", text, re.S)


def test_latex_is_balanced_and_escaped(scores: pd.DataFrame) -> None:
    text = tables.latex_table(tables.wide_table(scores))
    assert r"my\_net" in text
    assert text.count("{") == text.count("}")
    for environment in ("table*", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") > 0
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l c*|lc*)\}(.*?)\\end\{tabular\}", text, re.S):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {line.count(" & ") + 1 for line in rows} == {len(columns)}


def test_special_characters_are_escaped() -> None:
    escaped = r"a\_b \& 5\% \{x\} \textbackslash{} \textasciitilde{}"
    assert tables.escape(r"a_b & 5% {x} \ ~") == escaped


def test_undefined_numbers_are_dashes_and_never_best(scores: pd.DataFrame) -> None:
    table = tables.wide_table(scores)
    table.loc[table["method"] == "my_net", "hd95_mm"] = np.nan
    lines = tables.latex_table(table).splitlines()
    assert next(line for line in lines if line.startswith(r"my\_net")).split(" & ")[3] == "--"
    assert r"\textbf{2.5}" in next(line for line in lines if line.startswith("CrossModalNet "))


def write(top: Path, name: str, columns: str, *rows: tuple[object, ...]) -> None:
    (top / "comparison").mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=columns.split()).to_csv(top / "comparison" / name, index=False)


MEANS = "method title group dice dice_low dice_high iou iou_low iou_high hd95_mm hd95_mm_low hd95_mm_high"
TESTS = "metric method_a method_b difference p_holm verdict low high num_pairs"


def means(method: str, title: str, group: str, dice: float) -> tuple[object, ...]:
    return (method, title, group, *(x + end for x in (dice, 0.8, 2.54) for end in (0, -0.01, 0.02)))


def test_markdown_lists_methods_best_first_and_the_tests_of_the_first(tmp_path: Path) -> None:
    others = means("atlas", "Atlas baseline", "atlas", 0.7), means("mine", "Mine", "model", 0.8)
    write(tmp_path, "table.csv", MEANS, *others, means("crossmodalnet", "CrossModalNet", "model", 0.9))
    tests = [
        ("dice", "crossmodalnet", "mine", 0.1, 0.00002, "supported", 0.05, 0.15, 16),
        ("nsd", "crossmodalnet", "mine", 0.1, 0.1, "not_supported", 0.05, 0.15, 16),
        ("dice", "mine", "atlas", 0.3, 0.5, "not_supported", 0.05, 0.15, 16),
    ]
    write(tmp_path, "pairwise.csv", TESTS, *tests)
    table, tests = tables.markdown_tables(tmp_path).split("\n\n")
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
    write(tmp_path, "table.csv", MEANS, means("crossmodalnet", "CrossModalNet", "model", 0.9))
    write(tmp_path, "pairwise.csv", TESTS)
    rows = [
        (method, domain, structure, "dice", mean, mean - 0.1, mean + 0.1)
        for method, mean in (("crossmodalnet-source_only", 0.5), ("crossmodalnet", 0.7))
        for domain, structure in (("target", "mean"), ("target", "LV"), ("source", "mean"))
    ]
    write(tmp_path, "adaptation.csv", "method domain structure metric mean low high", *rows)
    share = ("crossmodalnet", "mean", 0.78, 0.45, 0.94)
    write(tmp_path, "gap.csv", "method structure share low high", share)
    seeds = [("crossmodalnet", "mean", 0, 0.7), ("crossmodalnet", "mean", 1, 0.71)]
    write(tmp_path, "gap_seeds.csv", "method structure seed dice", *seeds)
    _, gap, structures = tables.markdown_tables(tmp_path).split("\n\n")
    assert gap.splitlines()[2:] == [
        "| Source only | 0.500 [0.400, 0.600] |  |  |  | 0.500 |",
        "| JADA | 0.700 [0.600, 0.800] | 0.700, 0.710 | 78% [45%, 94%] |  | 0.700 |",
    ]
    assert structures.splitlines()[0].startswith("| target Dice | LV | RV |")
    assert structures.splitlines()[3].startswith("| JADA | 0.700 |  |")


def add(top: Path, method: str, dice: float) -> None:
    """Add the scores and metrics of two seeds, or of the atlas, to a finished pipeline."""
    values = {"dice": dice, "iou": 0.81, "hd95_mm": 4.25, "nsd": 0.9}
    rows = [(method, "mean", metric, value, value - 0.1, value + 0.05) for metric, value in values.items()]
    rows += [(method, "LV", metric, 0, 0, 0) for metric in values]
    path, columns = top / "comparison/scores.csv", "method structure metric mean low high"
    known = pd.read_csv(path).itertuples(index=False) if path.exists() else ()
    write(top, "scores.csv", columns, *known, *rows)
    for name in ["atlas"] if method == "atlas" else [f"{method}/seed0", f"{method}/seed1"]:
        (top / "metrics" / name).parent.mkdir(parents=True, exist_ok=True)
        (top / "metrics" / f"{name}.json").write_text(json.dumps({"missed": 2}))


def printed(top: Path, width: int = 100) -> str:
    stream = io.StringIO()
    tables.print_summary(Console(file=stream, width=width), top)
    return stream.getvalue()


def test_models_then_ablations_then_the_atlas_then_the_report(tmp_path: Path) -> None:
    dice = {"atlas": 0.7, "crossmodalnet-no_cross": 0.5, "crossmodalnet": 0.9, "mine": 0.1}
    for name, value in dice.items():
        add(tmp_path, name, value)
    (tmp_path / "report").mkdir()
    (tmp_path / "report/index.html").touch()
    *_, model, mine, ablation, atlas, report = printed(tmp_path, 200).splitlines()
    cells = "CrossModalNet 0.900 [0.800, 0.950] 0.810 4.2 0.900 4"
    assert model.replace("│", "").split() == cells.split()
    assert mine.split()[0] == "mine"
    assert "0.500" in ablation
    assert "Atlas baseline" in atlas
    assert atlas.split()[-1] == "2"
    assert report == f"Report: {(tmp_path / 'report' / 'index.html').resolve()}"


def test_a_report_that_is_missing_names_its_command(tmp_path: Path) -> None:
    add(tmp_path, "mine", 0.5)
    assert printed(tmp_path).endswith("is missing: run `dvc repro`\n")


@pytest.mark.parametrize("show", [tables.markdown_tables, printed])
def test_without_a_comparison_the_command_is_named(tmp_path: Path, show) -> None:
    with pytest.raises(DataError, match="run `dvc repro`"):
        show(tmp_path)


@pytest.mark.parametrize("width", [20, 40, 60, 72])
def test_a_narrow_terminal_cuts_no_number(tmp_path: Path, width: int) -> None:
    add(tmp_path, "crossmodalnet", 0.9)
    add(tmp_path, "atlas", 0.7)
    text = printed(tmp_path, width)
    assert "…" not in text
    for value in ("0.900 [0.800, 0.950]", "0.810", "4.2", "0.700 [0.600, 0.750]", "Atlas baseline"):
        assert value in text


def test_a_page_that_is_a_link_keeps_its_own_name(tmp_path: Path) -> None:
    add(tmp_path, "crossmodalnet", 0.9)
    (tmp_path / "report").mkdir()
    (tmp_path / "cached").touch()
    (tmp_path / "report/index.html").symlink_to(tmp_path / "cached")
    assert printed(tmp_path).endswith("report/index.html\n")
