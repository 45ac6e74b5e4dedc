import math

import pandas as pd
import pytest

from pipeline.training.curves import EpochSums, write_curves


def test_rows_are_means_over_steps(tmp_path):
    sums = EpochSums.start(["dice", "ce"])
    sums.add([0.5, 1.0], [0.5, 0.5], 1.0)
    sums = EpochSums(**sums.state(), names=("dice", "ce"))  # as after a restart
    sums.add([0.3, 2.0], [0.75, 0.25], 3.0)
    row = sums.row(0, lr=1e-3, validation={"val_dice": 0.8}, num_samples=8, peak_memory_mb=100.0)
    write_curves(tmp_path / "curves" / "net.csv", [row])
    (found,) = pd.read_csv(tmp_path / "curves" / "net.csv").to_dict("records")
    assert list(found) == [
        "epoch", "loss", "loss_dice", "loss_ce", "weight_dice", "weight_ce", "lr", "val_dice", "seconds",
        "samples_per_second", "peak_memory_mb",
    ]  # fmt: skip
    assert found["loss"] == pytest.approx((0.75 + 0.725) / 2)
    assert found["loss_ce"] == pytest.approx(1.5)
    assert found["weight_dice"] == pytest.approx(0.625)
    assert (found["epoch"], found["seconds"], found["samples_per_second"]) == (1, 4, 2)


def test_a_figure_is_averaged_over_the_steps_that_had_it():
    sums = EpochSums.start(["dice"], ["accuracy", "distance"])
    sums.add([0.5], [1.0], 1.0, [0.5, math.nan])
    sums = EpochSums(**sums.state(), names=("dice",), measure_names=("accuracy", "distance"))
    sums.add([0.5], [1.0], 1.0, [0.9, math.nan])
    row = sums.row(0, lr=1.0, validation={}, num_samples=1, peak_memory_mb=1.0)
    assert row["accuracy"] == pytest.approx(0.7)
    assert math.isnan(row["distance"])


def test_a_loss_that_a_step_left_out_is_in_neither_mean_nor_total():
    sums = EpochSums.start(["dice", "marginal", "betti"])
    sums.add([0.5, math.nan, math.nan], [1.0, 2.0, 1.0], 1.0)
    sums = EpochSums(**sums.state(), names=("dice", "marginal", "betti"))
    sums.add([0.3, 0.7, math.nan], [1.0, 2.0, 1.0], 1.0)
    row = sums.row(0, lr=1.0, validation={}, num_samples=1, peak_memory_mb=1.0)
    assert row["loss_dice"] == pytest.approx(0.4)
    assert row["loss_marginal"] == pytest.approx(0.7)
    assert math.isnan(row["loss_betti"])
    assert row["loss"] == pytest.approx((0.5 + 0.3 + 2 * 0.7) / 2)
