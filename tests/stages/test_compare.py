import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRICS
from pipeline.evaluation.score_cases import CASE_COLUMNS, MISREGISTRATION_COLUMNS
from stages import compare, pool


def write(name: str, dice: float) -> None:
    scores = [(pair, [dice + 0.01 * pair] * len(METRICS)) for pair in range(3)]
    rows = [(f"p{pair}", s, *values, 0, 0, 0) for pair, values in scores for s in ABBREVIATIONS]
    save(f"{name}/cases.csv", rows, CASE_COLUMNS)


def save(name: str, rows: list[tuple[Any, ...]], columns: Sequence[str]) -> None:
    path = Path("evaluation", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False)


def texts_of(name: str) -> list[str]:
    return [said["text"] for said in json.loads(Path("comparison", name).read_text("utf-8"))]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks with two seeds, an ablation and the atlas."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(
        "models: [crossmodalnet, mednext]\nablations: [ct_only]\nseeds: [0, 7]\ncompare: {bootstrap_samples: 100}\n"
    )
    for seed in (0, 7):
        for name, dice in (("crossmodalnet", 0.8), ("mednext", 0.9), ("crossmodalnet-ct_only", 0.7)):
            write(f"{name}/seed{seed}", dice + 0.001 * seed)
    write("atlas", 0.5)


def test_the_stage_compares_all_methods(project: None) -> None:
    compare.main()
    scores = pd.read_csv("comparison/scores.csv").set_index(["method", "structure", "metric"])
    row = scores.loc[("mednext", "mean", "dice")]
    assert row["mean"] == pytest.approx(0.9 + 0.01 + 0.0035)
    assert row[["num_subjects", "num_seeds"]].tolist() == [3, 2]
    ranks = pd.read_csv("comparison/ranks.csv")
    assert ranks[ranks["metric"] == "dice"]["method"].tolist() == ["mednext", "crossmodalnet", "atlas"]
    first = "Dice: MedNeXt is first of 3 methods, in 100 %"
    assert any(text.startswith(first) for text in texts_of("statements.json"))
    assert {path.name for path in Path().iterdir()} == {"params.yaml", "evaluation", "comparison"}


def test_methods_that_were_displaced_are_compared_in_what_they_lose(project: None) -> None:
    for name, lost in (("crossmodalnet", 0.1), ("mednext", 0.2)):
        for seed in (0, 7):
            rows = [(f"p{pair}", mm, mm, 0.9 - lost * mm / 5) for pair in range(3) for mm in (0.0, 5.0)]
            save(f"{name}/seed{seed}/misregistration.csv", rows, MISREGISTRATION_COLUMNS)
    compare.main()
    table = pd.read_csv("comparison/misregistration.csv").set_index(["method", "moved_mm"])
    assert table.loc[("mednext", 5), "loss"] == pytest.approx(0.2)
    said = texts_of("misregistration_statements.json")
    assert "CrossModalNet loses least of 2 networks, 0.100 [0.100, 0.100]" in said[0]
    assert not Path("comparison/modalities.csv").exists()


def test_a_missing_evaluation_leaves_no_comparison(project: None) -> None:
    Path("evaluation/mednext/seed7/cases.csv").unlink()
    with pytest.raises(DataError, match="mednext/seed7"):
        compare.main()
    assert not Path("comparison").exists()


def adapted(scenario: str) -> None:
    """Turn the adaptation on, compared with both bounds; its evaluations hold a target."""
    text = Path("params.yaml").read_text("utf-8").replace("[crossmodalnet, mednext]", "[crossmodalnet]")
    more = f"adaptations: [source_only, supervised]\nadapt: {{enabled: true, scenario: {scenario}}}\n"
    Path("params.yaml").write_text(text + more)
    for variant, dice in (("", 0.6), ("-source_only", 0.4), ("-supervised", 0.8)):
        for seed in (0, 7):
            if variant:
                write(f"crossmodalnet{variant}/seed{seed}", 0.8)
            write(f"crossmodalnet{variant}/seed{seed}/target", dice)


def test_an_adaptation_is_compared_with_its_bounds(project: None) -> None:
    adapted("cohort")
    compare.main()
    gap = pd.read_csv("comparison/gap.csv").set_index(["method", "structure"])
    assert gap.loc[("crossmodalnet", "mean"), "share"] == pytest.approx(0.5)
    said = texts_of("adaptation_statements.json")
    assert said[0].startswith("JADA recovers 50 % [50, 50] of the gap")
    methods = set(pd.read_csv("comparison/scores.csv")["method"])
    assert methods == {"crossmodalnet", "crossmodalnet-ct_only", "atlas"}


def test_between_modalities_models_are_compared_alone(project: None) -> None:
    adapted("ct_to_mr")
    for folder in ("atlas", "crossmodalnet-ct_only"):
        shutil.rmtree(Path("evaluation", folder))
    compare.main()
    assert set(pd.read_csv("comparison/scores.csv")["method"]) == {"crossmodalnet"}
    assert pd.read_csv("comparison/pairwise.csv").empty
    assert not pd.read_csv("comparison/gap.csv").empty


def test_pool_replaces_comparisons_only(project: None) -> None:
    with pytest.raises(UsageError, match="evaluation exists and is not a comparison"):
        pool.main(["a", "b"], Path("evaluation"))
