import math

import pandas as pd
import pytest

from pipeline.training.curves import EpochSums, unlearned, write_curves


def test_means_are_over_the_steps_that_had_a_value():
    sums = EpochSums()
    sums.add({"loss_dice": 0.5, "loss_marginal": math.nan, "distance": math.nan}, 1.0)
    sums = EpochSums(**vars(sums))  # as after a restart
    sums.add({"loss_dice": 0.3, "loss_marginal": 0.7, "distance": math.nan}, 3.0)
    means = sums.means()
    assert means["loss_dice"] == pytest.approx(0.4)
    assert means["loss_marginal"] == pytest.approx(0.7)
    assert math.isnan(means["distance"])
    assert (sums.steps, sums.seconds) == (2, 4.0)


def test_rows_come_back_from_their_file(tmp_path):
    rows = [{"epoch": 1, "loss": 0.1 + 0.2, "score": math.nan}, {"epoch": 2, "loss": 1e-17, "score": 0.5}]
    write_curves(tmp_path / "curves" / "net.csv", rows)
    assert (tmp_path / "curves/net.csv").read_text("utf-8").splitlines()[1] == "1,0.30000000000000004,nan"
    found = pd.read_csv(tmp_path / "curves/net.csv")
    pd.testing.assert_frame_equal(found, pd.DataFrame(rows), check_exact=True)


@pytest.mark.parametrize(
    ("dice", "ce", "told"),
    [
        ([0.91, 0.88], [1.8, 0.9], "loss_dice went from 0.910 to 0.880 in 2"),
        ([0.9, 0.4], [1.8, 0.4], ""),
        ([0.9], [1.8], ""),
    ],
    ids=["background only", "learned", "one epoch"],
)
def test_training_whose_loss_does_not_fall_is_told(dice, ce, told):
    found = unlearned(pd.DataFrame({"loss_dice": dice, "loss_ce": ce, "lr": 1e-5}))
    assert told in found
    assert bool(told) == bool(found) == ("1e-05" in found)
