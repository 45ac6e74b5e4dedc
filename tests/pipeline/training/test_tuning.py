from dataclasses import asdict
from unittest.mock import Mock

import pytest

from crossmodalnet.errors import DataError, DivergenceError, UsageError
from crossmodalnet.io.outputs import write_json
from pipeline.training import tuning
from pipeline.training.tuning import TrialResult, read_trial, read_trials, run_trial
from tests.pipeline.conftest import ALONE


def test_a_trial_is_a_short_training_with_its_own_rate(cohort, set_params):
    with (cohort / "params.yaml").open("a") as file:
        file.write("tune: {epochs: 1}\nseeds: [3, 4]\n")
    trial = read_trial("crossmodalnet", "0.01")
    assert (trial[0].train.lr, trial[0].train.epochs, trial[1]) == (0.01, 1, 3)
    run_trial(*trial, ALONE)
    (found,) = read_trials("crossmodalnet", cohort)
    assert (found.model, found.lr, found.epochs) == ("crossmodalnet", 0.01, 1)
    assert 0 <= found.validation_dice <= 1
    assert not (cohort / "models").exists()


def test_a_rate_that_diverges_scores_zero_and_other_errors_stop(cohort, set_params, monkeypatch):
    training = Mock(side_effect=DivergenceError("loss is not finite"))
    monkeypatch.setattr(tuning, "run_training", training)
    run_trial(*read_trial("crossmodalnet", "5.0"), ALONE)
    assert [found.validation_dice for found in read_trials("crossmodalnet", cohort)] == [0]
    training.side_effect = DataError("damaged")
    with pytest.raises(DataError, match="damaged"):
        run_trial(*read_trial("crossmodalnet", "0.1"), ALONE)


@pytest.mark.parametrize("rate", ["fast", "-1", "0", "nan", "inf"])
def test_rates_that_are_none(set_params, rate):
    with pytest.raises(UsageError, match="--lr must be"):
        read_trial("crossmodalnet", rate)


def test_what_is_written_is_read_lowest_rate_first(tmp_path):
    written = [TrialResult("mednext", lr, dice, 10) for lr, dice in ((0.01, 0.79), (0.0005, 0.8))]
    for result in written:
        write_json(tmp_path / f"tuning/mednext/{result.lr}.json", asdict(result))
    assert read_trials("mednext", tmp_path) == written[::-1]
    assert read_trials("nnformer", tmp_path) == []


def test_trial_without_its_score_is_refused(tmp_path):
    write_json(tmp_path / "tuning/mednext/9.json", {"model": "mednext", "lr": 9, "epochs": 1})
    with pytest.raises(DataError, match=r"9.json: .*validation_dice.*: run `dvc repro --force tune`"):
        read_trials("mednext", tmp_path)
