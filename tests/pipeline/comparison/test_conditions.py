import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.metrics.scores import METRICS
from pipeline.comparison import conditions
from pipeline.comparison.conditions import compare_modalities, modality_table, read_conditions
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases, misregistered, write_cases

Runs = dict[str, dict[int, Path]]


def write_misregistration(folder: Path, shifts: tuple[float, ...] = (0.0, 5.0)) -> None:
    rows = [("", 0, pair, shift, 0.9 - shift / 100) for pair in ("p00", "p01") for shift in shifts]
    folder.mkdir(parents=True, exist_ok=True)
    table = misregistered(rows).drop(columns=["method", "seed"])
    table.to_csv(folder / "misregistration.csv", index=False)


@pytest.fixture
def runs(tmp_path: Path, cases: Cases) -> Runs:
    """A network with two seeds, misregistered and with one modality; one that was misregistered; the atlas."""
    runs = {"crossmodalnet": {seed: tmp_path / f"crossmodalnet/seed{seed}" for seed in (0, 7)}}
    runs |= {"mednext": {0: tmp_path / "mednext/seed0"}, "atlas": {0: tmp_path / "atlas"}}
    for folder in (*runs["crossmodalnet"].values(), *runs["mednext"].values()):
        write_misregistration(folder)
    for folder in runs["crossmodalnet"].values():
        for view in ("ct_alone", "mr_alone"):
            write_cases(folder / view, cases([[0.5], [0.6]]))
    return runs


def test_what_was_measured_is_read_by_method_and_seed(runs: Runs, tmp_path: Path) -> None:
    found = read_conditions(runs)
    assert found.misregistration.groupby(["method", "seed"]).size().to_dict() == {
        ("crossmodalnet", 0): 4, ("crossmodalnet", 7): 4, ("mednext", 0): 4,
    }  # fmt: skip
    assert found.modalities.groupby(["view", "seed"]).size().to_dict() == {
        (view, seed): 14 for view in ("ct_alone", "mr_alone") for seed in (0, 7)
    }
    conditions.write_kept(tmp_path, found)
    kept = conditions.read_kept(tmp_path)
    pd.testing.assert_frame_equal(kept.misregistration, found.misregistration)
    assert kept.modalities.columns.tolist() == found.modalities.columns.tolist()


def test_where_nothing_was_measured_nothing_is_kept(tmp_path: Path) -> None:
    assert all(table.empty for table in read_conditions({"mednext": {0: tmp_path}}))
    conditions.write_kept(tmp_path, conditions.NOTHING_MEASURED)
    assert list(tmp_path.iterdir()) == []
    assert conditions.read_kept(tmp_path).modalities.empty


def test_a_seed_that_lacks_what_another_has_is_named(runs: Runs) -> None:
    (runs["crossmodalnet"][7] / "mr_alone/cases.csv").unlink()
    with pytest.raises(DataError, match=r"seed7/mr_alone/cases.csv not found, but another seed of cross"):
        read_conditions(runs)


def test_methods_misregistered_by_other_amounts_are_refused(runs: Runs) -> None:
    write_misregistration(runs["mednext"][0], (0.0, 10.0))
    with pytest.raises(DataError, match="mednext, seed 0: not measured at the moved_mm and pairs of cross"):
        read_conditions(runs)


def test_a_table_without_a_column_is_refused(runs: Runs) -> None:
    path = runs["mednext"][0] / "misregistration.csv"
    pd.read_csv(path).drop(columns="dice").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"misregistration.csv lacks dice: run `dvc repro --force evaluate`"):
        read_conditions(runs)


FEW = CompareConfig(bootstrap_samples=300)
PAIR = np.array([[0.9, 0.88], [0.8, 0.82], [0.84, 0.86]])


@pytest.fixture
def alone(cases: Cases) -> pd.DataFrame:
    """From CT alone 0.05 less in every case, from MR alone 0.01 more."""
    views = {"ct_alone": PAIR - 0.05, "mr_alone": PAIR + 0.01}
    return pd.concat([cases(dice).assign(method="crossmodalnet", view=view) for view, dice in views.items()])


def test_every_view_has_its_means_and_its_paired_difference_to_the_pair(cases, alone) -> None:
    methods = {"mednext": cases(PAIR - 0.3), "crossmodalnet": cases(PAIR)}
    table = modality_table(methods, alone, FEW)
    assert set(table["method"]) == {"crossmodalnet"}
    dice = table[table["metric"] == "dice"].set_index("view")
    assert dice.index.tolist() == ["pair", "ct_alone", "mr_alone"]
    assert dice["mean"].tolist() == pytest.approx([0.85, 0.8, 0.86])
    changes = dice.loc[["ct_alone", "mr_alone"], ["difference", "difference_low", "difference_high"]]
    assert changes.astype(float).to_numpy() == pytest.approx(np.array([[-0.05] * 3, [0.01] * 3]))
    assert dice.loc["pair", ["difference", "difference_low"]].isna().all()
    distance = table[table["metric"] == "hd95_mm"].set_index("view")  # ten times what is missing from Dice
    assert float(distance.loc["ct_alone", "difference"]) == pytest.approx(0.5)


def test_a_score_that_is_nowhere_defined_has_no_row(cases, alone) -> None:
    alone.loc[alone["view"] == "mr_alone", "hd95_mm"] = np.nan
    table = modality_table({"crossmodalnet": cases(PAIR)}, alone, FEW)
    assert table[table["metric"] == "hd95_mm"]["view"].tolist() == ["pair", "ct_alone"]


def test_statements_compare_each_modality_with_the_pair(cases, alone, tmp_path: Path) -> None:
    found = compare_modalities({"crossmodalnet": cases(PAIR)}, alone, FEW)
    text = found.statements[0]["text"]
    assert "Dice 0.850 [" in text
    assert "] from CT + MR; 0.800 [" in text
    assert "] from CT alone, 0.050 [0.050, 0.050] less; 0.860 [" in text
    assert "] from MR alone, 0.010 [0.010, 0.010] more (scored against the MR's own label" in text
    found.write(tmp_path)
    assert json.loads((tmp_path / "modality_statements.json").read_text("utf-8")) == found.statements
    assert len(pd.read_csv(tmp_path / "modalities.csv")) == 3 * len(METRICS)
