import json
import signal

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from crossmodalnet.errors import DataError, InterruptedRunError, UsageError
from crossmodalnet.training.dataset import TrainingSet
from pipeline.training.checkpoint import load_model
from pipeline.training.cohort import read_cohort
from pipeline.training.learner import Learner
from pipeline.training.params import read_params
from pipeline.training.processes import Processes
from pipeline.training.train_model import train_model

ALONE = Processes(0, 1, 1, torch.device("cpu"))
FILES = ("weights.safetensors", "last.safetensors", "card.json")


class Killed(BaseException):
    """Stands for kill -9: nothing gets the chance to clean up."""


def _train():
    train_model(read_params("crossmodalnet"), 0, ALONE)


def _outputs(cohort):
    return [(cohort / "models/crossmodalnet/seed0" / name).read_bytes() for name in FILES]


def _losses(cohort):
    lines = (cohort / "curves/crossmodalnet/seed0.csv").read_text("utf-8").splitlines()
    return [line.split(",")[:8] for line in lines]  # the rest is time and memory


@pytest.fixture
def steps(monkeypatch):
    """Count the steps taken, and call `at[number]()` after the step of that number."""
    taken, at = [], {}
    step = Learner.step

    def counted(self, *arguments, **keywords):
        found = step(self, *arguments, **keywords)
        taken.append(found)
        at.get(len(taken), lambda: None)()
        return found

    monkeypatch.setattr(Learner, "step", counted)
    return taken, at


def _kill():
    raise Killed


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
    at[5] = _kill  # in the second epoch, one step after its beginning
    with pytest.raises(Killed):
        _train()
    _train()
    assert len(taken) == 5 + 6
    assert (_outputs(cohort), _losses(cohort)) == undisturbed


def test_the_curve_is_written_after_each_epoch(cohort, set_params, steps):
    found = []
    steps[1][7] = lambda: found.append(_losses(cohort))  # in the third epoch
    _train()
    assert found == [_losses(cohort)[:3]]  # heading and two epochs


def test_resume_after_sigterm_is_bit_exact_at_the_step(cohort, undisturbed, steps):
    taken, at = steps
    at[5] = lambda: signal.raise_signal(signal.SIGTERM)
    with pytest.raises(InterruptedRunError, match="epoch 2 of 3, step 2 of 3; run it again"):
        _train()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    _train()
    assert len(taken) == 9
    assert (_outputs(cohort), _losses(cohort)) == undisturbed


def test_a_finished_training_is_exported_again_without_a_step(cohort, set_params, steps):
    _train()
    before = _outputs(cohort)
    (cohort / "models/crossmodalnet/seed0/card.json").unlink()
    _train()
    assert len(steps[0]) == 9
    assert _outputs(cohort) == before


@pytest.mark.parametrize(("changes", "trains"), [({"lr": 1e-5}, True), ({"num_threads": 1}, False)])
def test_a_training_resumes_only_with_the_same_parameters(set_params, steps, changes, trains):
    _train()
    set_params(**changes)
    _train()
    assert len(steps[0]) == (18 if trains else 9)


def test_changed_data_start_a_new_training(cohort, set_params, steps):
    _train()
    (cohort / "data/cropped/b/label.nii.gz").write_bytes(
        (cohort / "data/cropped/a/label.nii.gz").read_bytes()
    )
    _train()
    assert len(steps[0]) == 18


def test_the_best_epoch_is_kept_the_later_of_equal_ones(cohort, set_params, monkeypatch):
    scores = iter([0.3, 0.7, 0.7, 0.5])
    monkeypatch.setattr("pipeline.training.trainer.validate", lambda *_, **__: next(scores))
    set_params(epochs=4, validate_every=1)
    _train()
    folder = cohort / "models/crossmodalnet/seed0"
    assert '"best_epoch": 3' in (folder / "card.json").read_text("utf-8")
    assert [row[7] for row in _losses(cohort)[1:]] == ["0.3", "0.7", "0.7", "0.5"]
    best, last = load_file(folder / "weights.safetensors"), load_file(folder / "last.safetensors")
    assert any(not torch.equal(best[name], last[name]) for name in best)


def test_validation_every_few_epochs(cohort, set_params, monkeypatch):
    scores = iter([0.5, 0.6, 0.4])
    monkeypatch.setattr("pipeline.training.trainer.validate", lambda *_, **__: next(scores))
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
    with pytest.raises(UsageError, match="no model 'unet'; there are crossmodalnet"):
        read_params("unet")
    set_params(patch_size=[16, 16, 15])
    with pytest.raises(UsageError, match=r"train\.patch_size \(16, 16, 15\)"):
        _train()


def test_pairs_on_different_grids_are_refused(cohort, set_params):
    from crossmodalnet.imaging.volume import Volume
    from pipeline.preparation.cases import CroppedCase, read_cropped, write_cropped

    case = read_cropped(cohort / "data/cropped/b")
    thin = [Volume(volume.data[:8], volume.affine) for volume in (case.ct, case.mr, case.label)]
    write_cropped(cohort / "data/cropped/b", CroppedCase("b", *thin, native=case.native))
    with pytest.raises(DataError, match=r"b: \(8, 16, 16\) voxels"):
        read_cohort(read_params("crossmodalnet").intensity)


def test_patches_may_be_smaller_than_the_crop(cohort, set_params):
    set_params(patch_size=[8, 8, 16], epochs=1)
    _train()
    assert '"patch_size": [\n    8,' in (cohort / "models/crossmodalnet/seed0/card.json").read_text("utf-8")


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
def test_deep_supervision_is_one_switch_for_all(cohort, on):
    (cohort / "params.yaml").write_text(f"losses: {{deep_supervision: {str(on).lower()}}}\n")
    assert [read_params(name).options.get("deep_supervision") for name in ("mednext", "vtunet")] == [on, None]


def test_a_comparison_network_trains(cohort, set_params):
    set_params(epochs=1)
    train_model(read_params("mednext"), 3, ALONE)
    card = json.loads((cohort / "models/mednext/seed3/card.json").read_text("utf-8"))
    assert (card["builder"], card["seed"]) == ("mednext", 3)
    assert card["network"]["deep_supervision"]
    assert load_model(cohort / "models/mednext/seed3").card.name == "mednext"
