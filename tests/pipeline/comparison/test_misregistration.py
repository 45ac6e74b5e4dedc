import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from crossmodalnet.metrics.statistics import bootstrap_interval
from pipeline.comparison.misregistration import (
    LOSSES,
    TABLE,
    TESTS,
    compare_misregistration,
    far_losses,
    misregistration_table,
)
from pipeline.config.sections import CompareConfig

FEW = CompareConfig(bootstrap_samples=300)
SHIFTS = (0.0, 2.0, 5.0, 10.0)
BASE = 0.9 - 0.01 * np.arange(12)


def measured(
    method: str, losses: Sequence[float], seeds: Sequence[int] = (0, 1), wobble: float = 0.001
) -> pd.DataFrame:
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
        measured("crossmodalnet", (0, 0.05, 0.1, 0.2)),
        measured("mednext", (0, 0.1, 0.2, 0.3)),
        measured("vtunet", (0, 0.0, 0.02, 0.08)),
        measured("crossmodalnet-no_cross", (0, 0.1, 0.15, 0.25), seeds=(0,)),
    ])  # fmt: skip


def test_loss_is_that_of_the_far_shifts_against_none() -> None:
    lost = far_losses(measured("a", (0, 0.4, 0.1, 0.2), wobble=0.0))
    assert lost.shape == (12, 2)
    assert lost.to_numpy() == pytest.approx(0.15)  # of 5 and 10 mm; 2 mm does not count
    near = measured("a", (0, 0.4, 0.1, 0.2)).query("moved_mm < 5")
    assert far_losses(near).empty


def test_means_and_intervals_are_those_of_the_bootstrap_over_subjects_and_seeds() -> None:
    own = measured("mednext", (0, 0.1, 0.2, 0.3))
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
    own = measured("a", (0, 0.1, 0.2, 0.3), wobble=0.0)
    own.loc[(own["pair"] == "p00") & (own["moved_mm"] == 2) & (own["seed"] == 1), "dice"] = np.nan
    table = misregistration_table({"a": own}, FEW).set_index("moved_mm")
    assert table["num_subjects"].tolist() == [11] * 4
    assert table.loc[10.0, "dice"] == pytest.approx(BASE[1:].mean() - 0.301)


def test_losses_are_tested_against_those_of_the_reference_in_families() -> None:
    found = compare_misregistration(methods(), "crossmodalnet", FEW)
    tests = found.tables[TESTS].set_index("method_b")
    assert tests["family"].tolist() == ["models", "models", "ablations"]
    assert tests["num_tests"].tolist() == [2, 2, 1]
    factor = 1 + 0.001 * np.arange(12)
    assert tests.loc["mednext", "difference"] == pytest.approx(-0.1 * factor.mean())
    p = stats.wilcoxon(-0.1 * factor).pvalue
    assert tests["p_value"].tolist() == pytest.approx([p, p, p])
    assert tests["p_holm"].tolist() == pytest.approx([2 * p, 2 * p, p])
    assert found.tables[LOSSES]["method"].tolist() == [
        "vtunet",
        "crossmodalnet",
        "crossmodalnet-no_cross",
        "mednext",
    ]
    assert found.tables[LOSSES]["loss"].iloc[1] == pytest.approx(0.15 * factor.mean())


def test_statements_say_who_loses_least_and_what_is_supported() -> None:
    said = compare_misregistration(methods(), "crossmodalnet", FEW).statements
    assert [(s["kind"], s.get("family", "")) for s in said] == [
        ("not_first", ""), ("supported", "models"), ("supported", "models"), ("supported", "ablations"),
    ]  # fmt: skip
    assert said[0]["text"].startswith(
        "Dice lost from 5 mm on (mean of 5 and 10 mm, against 0 mm): VT-UNet loses least of 3 networks, 0.050 [0.050, "
    )
    assert "; CrossModalNet loses 0.151 [0.15" in said[0]["text"]
    assert said[1]["text"].startswith(
        "Dice lost from 5 mm on: CrossModalNet loses less than MedNeXt by 0.101 [0.10"
    )
    assert said[1]["text"].endswith("(Holm p < 0.001, 12 pairs): supported.")
    assert "CrossModalNet loses more than VT-UNet by 0.101" in said[2]["text"]


def test_a_method_that_loses_least_is_named_first_and_a_single_one_has_its_loss() -> None:
    first = compare_misregistration(methods(), "vtunet", FEW).statements[0]
    assert (first["kind"], "CrossModalNet" in first["text"]) == ("first", False)
    alone = compare_misregistration(measured("mednext", (0, 0.1, 0.2, 0.3)), "mednext", FEW).statements
    assert [s["kind"] for s in alone] == ["note"]
    assert "against 0 mm): MedNeXt loses 0.251 [0.25" in alone[0]["text"]


def test_a_loss_below_nothing_is_told_as_a_gain() -> None:
    gains = measured("mednext", (0, 0.0, -0.02, -0.04), wobble=0.0)
    alone = compare_misregistration(gains, "mednext", FEW).statements
    assert alone[0]["text"].endswith(": MedNeXt gains 0.030 [0.030, 0.030].")
    both = pd.concat([gains, measured("crossmodalnet", (0, 0.0, 0.1, 0.2), wobble=0.0)])
    text = compare_misregistration(both, "crossmodalnet", FEW).statements[0]["text"]
    assert (
        "MedNeXt loses least of 2 networks, it gains 0.030 [0.030, 0.030]; CrossModalNet loses 0.150" in text
    )


def test_too_few_pairs_are_said_to_be_too_few() -> None:
    few = methods().query("pair < 'p05'")
    said = compare_misregistration(few, "crossmodalnet", FEW, folds=2).statements
    assert [s["kind"] for s in said] == ["not_first", *["underpowered"] * 2, "note", *["underpowered"] * 3]
    assert said[1]["text"].startswith("With 5 test pairs no paired Wilcoxon test against the other methods")
    assert said[4]["text"].endswith("on 5 pairs, too few for a verdict.")


def test_nothing_is_said_without_a_far_shift(tmp_path: Path) -> None:
    found = compare_misregistration(methods().query("moved_mm < 5"), "crossmodalnet", FEW)
    assert {name: len(table) for name, table in found.tables.items()} == {TABLE: 8, LOSSES: 0, TESTS: 0}
    assert found.statements == []
    found.write(tmp_path)
    assert json.loads((tmp_path / "misregistration_statements.json").read_text("utf-8")) == []
    assert pd.read_csv(tmp_path / "misregistration_losses.csv").empty
    assert pd.read_csv(tmp_path / "misregistration.csv")["moved_mm"].tolist() == [0, 2] * 4
