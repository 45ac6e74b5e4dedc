import json

import pytest
import torch

from crossmodalnet.errors import DataError, DivergenceError, UsageError
from pipeline.training import tuning
from pipeline.training.processes import Processes
from pipeline.training.tuning import read_trial, run_trial

ALONE = Processes(0, 1, 1, torch.device("cpu"))


def test_a_trial_is_a_short_training_with_its_own_rate(cohort, set_params):
    with (cohort / "params.yaml").open("a") as file:
        file.write("tune: {epochs: 1}\nseeds: [3, 4]\n")
    trial = read_trial("crossmodalnet", "0.01")
    assert (trial.params.train.lr, trial.params.train.epochs, trial.seed) == (0.01, 1, 3)
    run_trial(trial, ALONE)
    found = json.loads((cohort / "tuning/crossmodalnet/0.01.json").read_text("utf-8"))
    assert (found["model"], found["lr"], found["epochs"]) == ("crossmodalnet", 0.01, 1)
    assert 0 <= found["validation_dice"] <= 1
    assert not (cohort / "models").exists()


def _raises(error):
    def fail(*_):
        raise error

    return fail


def test_a_rate_that_diverges_scores_zero_and_other_errors_stop(cohort, set_params, monkeypatch):
    monkeypatch.setattr(tuning, "run_training", _raises(DivergenceError("loss is not finite")))
    run_trial(read_trial("crossmodalnet", "5.0"), ALONE)
    assert json.loads((cohort / "tuning/crossmodalnet/5.0.json").read_text("utf-8"))["validation_dice"] == 0
    monkeypatch.setattr(tuning, "run_training", _raises(DataError("damaged")))
    with pytest.raises(DataError, match="damaged"):
        run_trial(read_trial("crossmodalnet", "0.1"), ALONE)


@pytest.mark.parametrize("rate", ["fast", "-1", "0", "nan", "inf"])
def test_rates_that_are_none(set_params, rate):
    with pytest.raises(UsageError, match="--lr must be"):
        read_trial("crossmodalnet", rate)
