import pytest
import torch

from pipeline.config.sections import TrainConfig
from pipeline.training.budget import EpochBudget, TimeBudget, learning_rate
from pipeline.training.processes import Processes
from tests.pipeline.conftest import ALONE

HALF = 0.01 + 0.99 * 0.5


def _params(**changes):
    return TrainConfig(**{"lr": 1.0, "warmup_fraction": 0.0, "epochs": 4, "seconds": 50.0, **changes})


def test_learning_rate_by_hand():
    params = _params(warmup_fraction=0.2, schedule="cosine")
    rates = [learning_rate(step, 10, params) for step in range(10)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[6] == pytest.approx(HALF)
    assert [learning_rate(step, 10, _params(schedule="constant")) for step in (0, 9)] == [1.0, 1.0]


@pytest.mark.parametrize(("epochs", "seconds", "spent"), [(3, 1e9, False), (4, 0.0, True), (5, 0.0, True)])
def test_epochs_are_spent_however_long_they_took(epochs, seconds, spent):
    assert EpochBudget(_params(), 3).is_spent(epochs, seconds) is spent


@pytest.mark.parametrize(("epochs", "seconds", "spent"), [(100, 49.9, False), (0, 50.0, True), (1, 60.0, True)])
def test_seconds_are_spent_however_many_epochs_there_were(epochs, seconds, spent):
    assert TimeBudget(_params(), 3, ALONE).is_spent(epochs, seconds) is spent


def test_shares_and_rates_go_by_the_step_or_by_the_time():
    epochs, seconds = EpochBudget(_params(), 3), TimeBudget(_params(), 3, ALONE)
    assert epochs.share(6, 1e9) == 0.5 == seconds.share(1000, 25.0)
    assert seconds.share(0, 60.0) == 1.0  # the last step may end late
    assert epochs.learning_rate(6, 1e9) == pytest.approx(HALF)
    assert seconds.learning_rate(1000, 25.0) == pytest.approx(HALF)
    assert seconds.learning_rate(0, 60.0) == pytest.approx(0.01)


def test_time_is_that_of_the_main_process(monkeypatch):
    monkeypatch.setattr("pipeline.training.budget.time.monotonic", lambda: 3.0)
    assert TimeBudget(_params(), 3, ALONE).clock() == 3.0 == EpochBudget(_params(), 3).clock()
    # The second of two processes, whose main one says 7 s.
    monkeypatch.setattr(Processes, "sum", lambda _, values: [value + 7.0 for value in values])
    assert TimeBudget(_params(), 3, Processes(1, 2, 2, torch.device("cpu"))).clock() == 7.0
