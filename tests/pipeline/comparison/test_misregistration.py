import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from crossmodalnet.metrics.statistics import bootstrap_interval
from pipeline.comparison.misregistration import LOSSES, TABLE, TESTS, misregistration_table
from pipeline.comparison.misregistration import compare_misregistration as compare
from pipeline.config.sections import CompareConfig

FEW = CompareConfig(bootstrap_samples=300)
SHIFTS = (0.0, 2.0, 5.0, 10.0)
BASE = 0.9 - 0.01 * np.arange(12)


def measured(method: str, *losses: float, seeds=(0, 1), wobble: float = 0.001) -> pd.DataFrame:
    """Dice of twelve pairs that fall by the `losses` at `SHIFTS`, a little more from pair to pair and seed to seed."""
    rows = [
        (method, seed, f"p{pair:02}", shift, shift / 2, start - loss * (1 + wobble * pair) - 0.002 * place)
        for place, seed in enumerate(seeds)
        for pair, start in enumerate(BASE)
        for shift, loss in zip(SHIFTS, losses, strict=True)
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "pair", "moved_mm", "turned_degrees", "dice"])


def methods() -> pd.DataFrame:
    """Ours loses 0.15 from 5 mm on, one 0.25, one 0.05; an ablation with the first seed 0.2."""
    return pd.concat([
        measured("crossmodalnet", 0, 0.05, 0.1, 0.2),
        measured("mednext", 0, 0.1, 0.2, 0.3),
        measured("vtunet", 0, 0.0, 0.02, 0.08),
        measured("crossmodalnet-no_cross", 0, 0.1, 0.15, 0.25, seeds=(0,)),
    ])  # fmt: skip


def test_means_and_intervals_are_those_of_the_bootstrap_over_subjects_and_seeds() -> None:
    own = measured("mednext", 0, 0.1, 0.2, 0.3)
    table = misregistration_table({"mednext": own}, FEW).set_index("moved_mm")
    values = own[own["moved_mm"] == 5].pivot(index="pair", columns="seed", values="dice").to_numpy()
    expected = bootstrap_interval(values, num_samples=300, seed=0)
    found = table.loc[5.0, ["dice", "low", "high"]].astype(float).tolist()
    assert found == pytest.approx([expected.mean, expected.low, expected.high])
    assert table.loc[5.0, "loss"] == pytest.approx(0.2 * (1 + 0.001 * 5.5))
    # Paired: the loss varies by 0.2 * 0.001 from pair to pair, and not at all with the seed.
    assert 0.2 < table.loc[5.0, "loss_low"] < table.loc[5.0, "loss_high"] < 0.2 * (1 + 0.001 * 11)
    assert table.loc[0.0, ["loss", "loss_low", "loss_high"]].tolist() == [0, 0, 0]
    assert table["num_subjects"].tolist() == [12] * 4


def test_a_pair_that_is_undefined_once_is_left_out() -> None:
    own = measured("a", 0, 0.1, 0.2, 0.3, wobble=0.0)
    own.loc[(own["pair"] == "p00") & (own["moved_mm"] == 2) & (own["seed"] == 1), "dice"] = np.nan
    table = misregistration_table({"a": own}, FEW).set_index("moved_mm")
    assert table["num_subjects"].tolist() == [11] * 4
    assert table.loc[10.0, "dice"] == pytest.approx(BASE[1:].mean() - 0.301)


def test_losses_are_tested_against_those_of_the_reference_in_families() -> None:
    found = compare(methods(), "crossmodalnet", FEW)
    tests = found.tables[TESTS].set_index("method_b")
    assert tests["family"].tolist() == ["models", "models", "ablations"]
    assert tests["num_tests"].tolist() == [2, 2, 1]
    factor = 1 + 0.001 * np.arange(12)
    assert tests.loc["mednext", "difference"] == pytest.approx(-0.1 * factor.mean())
    p = stats.wilcoxon(-0.1 * factor).pvalue
    assert tests["p_value"].tolist() == pytest.approx([p, p, p])
    assert tests["p_holm"].tolist() == pytest.approx([2 * p, 2 * p, p])
    losses = found.tables[LOSSES].set_index("method")["loss"]
    assert losses.index.tolist() == ["vtunet", "crossmodalnet", "crossmodalnet-no_cross", "mednext"]
    assert losses["crossmodalnet"] == pytest.approx(0.15 * factor.mean())


def test_statements_rank_losses_and_give_the_supported_differences() -> None:
    found = compare(methods(), "crossmodalnet", FEW).statements
    assert [(s["kind"], s.get("family")) for s in found] == [
        ("not_first", None), ("supported", "models"), ("supported", "models"), ("supported", "ablations"),
    ]  # fmt: skip
    texts = [statement["text"] for statement in found]
    assert "(mean of 5 and 10 mm, against 0 mm): VT-UNet loses least of 3 networks, 0.050 [0.0" in texts[0]
    assert "; CrossModalNet loses 0.151 [0.15" in texts[0]
    assert "CrossModalNet loses less than MedNeXt by 0.101 [0.10" in texts[1]
    assert "(Holm p < 0.001, 12 pairs)" in texts[1]
    assert "CrossModalNet loses more than VT-UNet by 0.101" in texts[2]


def test_the_method_with_the_smallest_loss_is_first() -> None:
    first = compare(methods(), "vtunet", FEW).statements[0]
    assert (first["kind"], "CrossModalNet" in first["text"]) == ("first", False)


def test_a_single_method_has_its_loss_noted() -> None:
    [alone] = compare(measured("mednext", 0, 0.1, 0.2, 0.3), "mednext", FEW).statements
    assert alone["kind"] == "note"
    assert "MedNeXt loses 0.251 [0.25" in alone["text"]


def test_a_negative_loss_is_a_gain() -> None:
    gains = measured("mednext", 0, 0.0, -0.02, -0.04, wobble=0.0)
    assert "MedNeXt gains 0.030 [0.030, 0.030]" in compare(gains, "mednext", FEW).statements[0]["text"]
    both = pd.concat([gains, measured("crossmodalnet", 0, 0.0, 0.1, 0.2, wobble=0.0)])
    text = compare(both, "crossmodalnet", FEW).statements[0]["text"]
    assert "it gains 0.030 [0.030, 0.030]; CrossModalNet loses 0.150" in text


def test_too_few_pairs_are_underpowered() -> None:
    found = compare(methods().query("pair < 'p05'"), "crossmodalnet", FEW, folds=2).statements
    kinds = [statement["kind"] for statement in found]
    assert kinds == ["not_first", *["underpowered"] * 2, "note", *["underpowered"] * 3]
    assert "5 test pairs" in found[1]["text"]


def test_without_a_far_shift_losses_and_tests_are_empty(tmp_path: Path) -> None:
    found = compare(methods().query("moved_mm < 5"), "crossmodalnet", FEW)
    assert {name: len(table) for name, table in found.tables.items()} == {TABLE: 8, LOSSES: 0, TESTS: 0}
    found.write(tmp_path)
    assert json.loads((tmp_path / "misregistration_statements.json").read_text("utf-8")) == []
    assert pd.read_csv(tmp_path / "misregistration_losses.csv").empty
    assert pd.read_csv(tmp_path / "misregistration.csv")["moved_mm"].tolist() == [0, 2] * 4
