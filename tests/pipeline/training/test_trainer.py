import json
import signal
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from crossmodalnet.errors import DataError, InterruptedRunError, UsageError
from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.metrics.overlap import mean_dice
from crossmodalnet.training.dataset import TrainingSet
from pipeline.training import trainer
from pipeline.training.checkpoint import load_model
from pipeline.training.params import read_params
from pipeline.training.processes import Processes
from pipeline.training.train_model import train_model
from tests.pipeline.conftest import ALONE

FILES = ("weights.safetensors", "last.safetensors", "card.json")


def _train():
    train_model(read_params("crossmodalnet"), 0, ALONE)


def _outputs(cohort):
    return [(cohort / "models/crossmodalnet/seed0" / name).read_bytes() for name in FILES]


def _card(cohort, model="crossmodalnet/seed0"):
    return json.loads((cohort / "models" / model / "card.json").read_text("utf-8"))


def _losses(cohort):
    lines = (cohort / "curves/crossmodalnet/seed0.csv").read_text("utf-8").splitlines()
    return [line.split(",")[:8] for line in lines]  # the rest is time and memory


@pytest.fixture
def undisturbed(cohort, set_params):
    """Outputs of a training (3 epochs of 3 steps) that nothing disturbs; its work is removed."""
    set_params(ema_decay=0.9, validate_every=1)
    _train()
    for path in sorted(cohort.rglob(".work/train/*/*")):
        path.unlink()
    return _outputs(cohort), _losses(cohort)


def test_resume_after_a_kill_is_bit_exact(cohort, undisturbed, steps):
    taken, at = steps
    at[5] = Mock(side_effect=SystemExit)  # in the second epoch, one step after its beginning
    with pytest.raises(SystemExit):
        _train()
    _train()
    assert len(taken) == 5 + 6
    assert (_outputs(cohort), _losses(cohort)) == undisturbed


def test_resume_after_sigterm_is_bit_exact_at_the_step(cohort, undisturbed, steps):
    taken, at = steps
    at[5] = lambda: signal.raise_signal(signal.SIGTERM)
    with pytest.raises(InterruptedRunError, match="epoch 2 of 3, step 2 of 3; run it again"):
        _train()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    _train()
    assert len(taken) == 9
    assert (_outputs(cohort), _losses(cohort)) == undisturbed


def test_the_curve_is_written_after_each_epoch(cohort, set_params, steps):
    found = []
    steps[1][7] = lambda: found.append(_losses(cohort))  # in the third epoch
    _train()
    assert found == [_losses(cohort)[:3]]  # heading and two epochs


def test_a_finished_training_is_exported_again_without_a_step(cohort, set_params, steps):
    _train()
    before = _outputs(cohort)
    (cohort / "models/crossmodalnet/seed0/card.json").unlink()
    _train()
    assert len(steps[0]) == 9
    assert _outputs(cohort) == before


def test_other_parameters_or_data_start_a_new_training(cohort, set_params, steps):
    _train()
    set_params(lr=1e-5)
    _train()
    assert len(steps[0]) == 18
    label = cohort / "data/cropped/a/label.nii.gz"
    (cohort / "data/cropped/b/label.nii.gz").write_bytes(label.read_bytes())
    _train()
    assert len(steps[0]) == 27


def test_the_best_epoch_is_kept_the_later_of_equal_ones(cohort, set_params, monkeypatch):
    monkeypatch.setattr(trainer, "mean_over_cases", Mock(side_effect=[0.3, 0.7, 0.7, 0.5]))
    set_params(epochs=4, validate_every=1)
    _train()
    assert _card(cohort)["best_epoch"] == 3
    assert [row[7] for row in _losses(cohort)[1:]] == ["0.3", "0.7", "0.7", "0.5"]
    best, last = (load_file(cohort / "models/crossmodalnet/seed0" / name) for name in FILES[:2])
    assert any(not torch.equal(best[name], last[name]) for name in best)


def test_validation_every_few_epochs(cohort, set_params, monkeypatch):
    monkeypatch.setattr(trainer, "mean_over_cases", Mock(side_effect=[0.5, 0.6, 0.4]))
    set_params(epochs=5, validate_every=3)
    _train()
    assert [row[7] for row in _losses(cohort)[1:]] == ["0.5", "0.5", "0.6", "0.6", "0.4"]


def test_a_nan_in_training_names_the_case(set_params, monkeypatch):
    sample = TrainingSet.sample

    def poisoned(self, index, epoch, position):
        drawn = sample(self, index, epoch, position)
        if drawn.name == "b" and epoch == 1:
            drawn.image.fill_(torch.nan)
        return drawn

    monkeypatch.setattr(TrainingSet, "sample", poisoned)
    with pytest.raises(DataError, match=r"not finite in epoch 2, step \d.*cases of the batch: .*b"):
        _train()


def test_a_batch_size_that_processes_cannot_share_is_refused(set_params):
    with pytest.raises(UsageError, match=r"train\.batch_size = 2 .* 3 processes"):
        train_model(read_params("crossmodalnet"), 0, Processes(0, 3, 3, torch.device("cpu")))


def test_unknown_models_and_patch_sizes_are_refused(set_params):
    with pytest.raises(UsageError, match="no model 'no_such_network'; there are crossmodalnet"):
        read_params("no_such_network")
    set_params(patch_size=[16, 16, 15])
    with pytest.raises(UsageError, match=r"train\.patch_size \(16, 16, 15\)"):
        _train()


def test_a_budget_of_seconds_ends_the_training_and_resumes(cohort, set_params, steps, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("pipeline.training.budget.time.monotonic", lambda: float(next(clock)))
    # a step takes a tick of the clock, the start of an epoch one that is not counted
    set_params(budget="seconds", seconds=5.0, epochs=1, warmup_fraction=0.0, validate_every=100)
    taken, at = steps
    at[4] = lambda: signal.raise_signal(signal.SIGTERM)
    with pytest.raises(InterruptedRunError, match="epoch 2, step 1 of 3"):
        _train()
    _train()
    rows = pd.read_csv(cohort / "curves/crossmodalnet/seed0.csv")
    assert len(taken) == 5
    assert rows["seconds"].tolist() == [3.0, 2.0]
    assert rows["lr"].is_monotonic_decreasing
    assert rows["lr"].iloc[-1] == pytest.approx(8e-3 * 0.01, rel=1e-6)


def test_ablations_keep_the_networks_learning_rate(set_params):
    set_params(network={"lr": 0.125})
    whole, ablated = read_params("crossmodalnet"), read_params("crossmodalnet", "no_cross")
    assert (whole.name, ablated.name) == ("crossmodalnet", "crossmodalnet-no_cross")
    assert whole.train.lr == 0.125
    assert {k for k, v in whole.options.items() if ablated.options[k] != v} == {"cross"}
    with pytest.raises(UsageError, match="no ablation 'no_cross' of mednext"):
        read_params("mednext", "no_cross")


@pytest.mark.parametrize("on", [True, False])
def test_deep_supervision_is_one_switch_for_all(set_params, on):
    set_params(losses={"deep_supervision": on})
    assert [read_params(name).options.get("deep_supervision") for name in ("mednext", "vtunet")] == [on, None]


def test_a_comparison_network_trains(cohort, set_params):
    set_params(epochs=1)
    train_model(read_params("mednext"), 3, ALONE)
    card = _card(cohort, "mednext/seed3")
    assert (card["builder"], card["seed"]) == ("mednext", 3)
    assert card["network"]["deep_supervision"]
    assert load_model(cohort / "models/mednext/seed3").card.name == "mednext"


def test_mean_dice_by_hand():
    truth = torch.tensor([0, 1, 1, 2, 2, 0])
    guess = torch.tensor([0, 1, 0, 2, 2, 3])
    # class 1: 2 / 3; class 2: 1; class 3, absent from the truth: 0; class 4 occurs in neither
    assert mean_dice(guess, truth, 5) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert mean_dice(torch.zeros(4), torch.zeros(4), 3) == 0


def test_what_the_truth_does_not_delineate_does_not_count():
    guess, truth = torch.tensor([1, 1, 2, 3]), torch.tensor([1, 1, 0, 0])
    dice = [mean_dice(guess, truth, 4, missing) for missing in ([], [2], [2, 3])]
    assert dice == pytest.approx([1 / 3, 1 / 2, 1])


class Reader(nn.Module):
    """Predicts the class that the CT channel holds."""

    def forward(self, image):
        return 50.0 * nn.functional.one_hot(image[:, 0].long(), 8).movedim(-1, 1).float()


def _labels(*shape):
    """Random labels, and an image whose channels are the labels."""
    label = torch.randint(0, 8, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return label, torch.stack([label.float()] * 2)


def test_mean_over_cases_of_any_size():
    label, right = _labels(9, 10, 11)
    cases = [LabelledCase("right", right, label), LabelledCase("wrong", torch.zeros_like(right), label)]
    assert trainer.mean_over_cases(trainer.case_dice, cases, Reader(), (6, 6, 6), ALONE) == pytest.approx(0.5)


def test_the_entropy_of_the_target_looks_at_no_label():
    label, sure = _labels(8, 8, 8)
    # All classes occur and none is in doubt; where only one occurs, the seven others count as wholly unsure.
    for image, expected in ((sure, 0), (torch.zeros_like(sure), 7 / 8)):
        cases = [LabelledCase("a", image, label)]
        found = trainer.mean_over_cases(trainer.case_entropy, cases, Reader(), (8, 8, 8), ALONE)
        assert found == pytest.approx(expected, abs=1e-6)
