from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.comparison.conditions import NOTHING_MEASURED, read_conditions, read_kept, write_kept
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
