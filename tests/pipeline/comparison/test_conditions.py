import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.comparison.conditions import (
    NOTHING_MEASURED,
    compare_modalities,
    modality_table,
    read_conditions,
    read_kept,
    write_kept,
)
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases

SHIFTS = (0.0, 5.0)


def displaced(folder: Path, shifts: tuple[float, ...] = SHIFTS) -> None:
    rows = [(pair, shift, shift, 0.9 - shift / 100) for pair in ("p00", "p01") for shift in shifts]
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=["pair", "moved_mm", "turned_degrees", "dice"])
    table.to_csv(folder / "misregistration.csv", index=False)


@pytest.fixture
def runs(tmp_path: Path, cases: Cases) -> dict[str, dict[int, Path]]:
    """A network with two seeds that was displaced and can do without a modality; one that was displaced; the atlas."""
    for name in ("crossmodalnet/seed0", "crossmodalnet/seed7", "mednext/seed0"):
        displaced(tmp_path / name)
    for seed in (0, 7):
        for view in ("ct_alone", "mr_alone"):
            folder = tmp_path / f"crossmodalnet/seed{seed}/{view}"
            folder.mkdir()
            cases([[0.5], [0.6]]).drop(columns="seed").to_csv(folder / "cases.csv", index=False)
    (tmp_path / "atlas").mkdir()
    ours = {seed: tmp_path / f"crossmodalnet/seed{seed}" for seed in (0, 7)}
    return {
        "crossmodalnet": ours,
        "mednext": {0: tmp_path / "mednext/seed0"},
        "atlas": {0: tmp_path / "atlas"},
    }


def test_what_was_measured_is_read_by_method_and_seed(
    runs: dict[str, dict[int, Path]], tmp_path: Path
) -> None:
    found = read_conditions(runs)
    assert found.misregistration.groupby(["method", "seed"]).size().to_dict() == {
        ("crossmodalnet", 0): 4, ("crossmodalnet", 7): 4, ("mednext", 0): 4,
    }  # fmt: skip
    assert found.modalities.groupby(["view", "seed"]).size().to_dict() == {
        (view, seed): 14 for view in ("ct_alone", "mr_alone") for seed in (0, 7)
    }
    write_kept(tmp_path, found)
    kept = read_kept(tmp_path)
    pd.testing.assert_frame_equal(kept.misregistration, found.misregistration)
    assert kept.modalities.columns.tolist() == found.modalities.columns.tolist()


def test_where_nothing_was_measured_nothing_is_kept(tmp_path: Path) -> None:
    found = read_conditions({"mednext": {0: tmp_path}})
    assert found.misregistration.empty
    assert found.modalities.empty
    write_kept(tmp_path, NOTHING_MEASURED)
    assert list(tmp_path.iterdir()) == []
    assert read_kept(tmp_path).modalities.empty


def test_a_seed_that_lacks_what_another_has_is_named(runs: dict[str, dict[int, Path]]) -> None:
    (runs["crossmodalnet"][7] / "mr_alone/cases.csv").unlink()
    with pytest.raises(
        DataError, match=r"seed7/mr_alone/cases.csv not found, but another seed of crossmodalnet"
    ):
        read_conditions(runs)


def test_methods_that_were_displaced_by_other_amounts_are_refused(runs: dict[str, dict[int, Path]]) -> None:
    displaced(runs["mednext"][0], (0.0, 10.0))
    with pytest.raises(
        DataError, match="mednext, seed 0: not measured at the moved_mm and pairs of crossmodalnet"
    ):
        read_conditions(runs)


def test_a_table_without_a_column_is_refused(runs: dict[str, dict[int, Path]]) -> None:
    path = runs["mednext"][0] / "misregistration.csv"
    pd.read_csv(path).drop(columns="dice").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"misregistration.csv lacks dice: run `dvc repro --force evaluate`"):
        read_conditions(runs)


FEW = CompareConfig(bootstrap_samples=300)
PAIR = np.array([[0.9, 0.88], [0.8, 0.82], [0.84, 0.86]])


def alone(cases: Cases, method: str = "crossmodalnet") -> pd.DataFrame:
    """From CT alone 0.05 less in every case, from MR alone 0.01 more."""
    views = {"ct_alone": PAIR - 0.05, "mr_alone": PAIR + 0.01}
    return pd.concat([cases(dice).assign(method=method, view=view) for view, dice in views.items()])


def test_every_view_has_its_means_and_its_paired_difference_to_the_pair(cases: Cases) -> None:
    methods = {"mednext": cases(PAIR - 0.3), "crossmodalnet": cases(PAIR)}
    table = modality_table(methods, alone(cases), FEW)
    assert set(table["method"]) == {"crossmodalnet"}
    dice = table[table["metric"] == "dice"].set_index("view")
    assert dice.index.tolist() == ["pair", "ct_alone", "mr_alone"]
    assert dice["mean"].tolist() == pytest.approx([0.85, 0.8, 0.86])
    changes = dice.loc[["ct_alone", "mr_alone"], ["difference", "difference_low", "difference_high"]]
    assert changes.astype(float).to_numpy() == pytest.approx(np.array([[-0.05] * 3, [0.01] * 3]))
    assert dice.loc["pair", ["difference", "difference_low"]].isna().all()
    distance = table[table["metric"] == "hd95_mm"].set_index("view")  # ten times what is missing from Dice
    assert float(distance.loc["ct_alone", "difference"]) == pytest.approx(0.5)


def test_a_score_that_is_nowhere_defined_has_no_row(cases: Cases) -> None:
    single = alone(cases)
    single.loc[single["view"] == "mr_alone", "hd95_mm"] = np.nan
    table = modality_table({"crossmodalnet": cases(PAIR)}, single, FEW)
    assert table[table["metric"] == "hd95_mm"]["view"].tolist() == ["pair", "ct_alone"]


def test_statements_say_what_mr_alone_is_scored_against(cases: Cases, tmp_path: Path) -> None:
    found = compare_modalities({"crossmodalnet": cases(PAIR)}, alone(cases), FEW)
    text = found.statements[0]["text"]
    assert text.startswith("CrossModalNet, one set of weights: Dice 0.850 [")
    assert "] from CT + MR; 0.800 [" in text
    assert "] from CT alone, 0.050 [0.050, 0.050] less; 0.860 [" in text
    assert text.endswith(
        "] from MR alone, 0.010 [0.010, 0.010] more (scored against the MR's own label, not against that "
        "of the CT)."
    )
    found.write(tmp_path)
    assert json.loads((tmp_path / "modality_statements.json").read_text("utf-8")) == found.statements
    assert len(pd.read_csv(tmp_path / "modalities.csv")) == 3 * 6
