import json
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

from crossmodalnet.errors import InterruptedRunError, UsageError
from crossmodalnet.training.adaptation.config import TERMS
from pipeline.config.sections import AdaptSection
from pipeline.config.variants import ADAPTATIONS
from pipeline.training.checkpoint import load_model
from pipeline.training.learner import Learner
from pipeline.training.params import read_params, with_adaptation
from pipeline.training.train_model import train_model
from tests.pipeline.conftest import ALONE

ON = {"enabled": True, "start": 0.0, "every": 1, "confidence": 0.1}


@pytest.fixture
def adapted(target, set_params):
    set_params(adapt={**ON, "volumes": 0.1}, validate_every=1)
    return target


def _train(variant=None, model="crossmodalnet"):
    params = with_adaptation(read_params(model), variant)
    train_model(params, 0, ALONE)
    return Path("models") / params.name / "seed0"


def _curve(name="crossmodalnet"):
    return pd.read_csv(f"curves/{name}/seed0.csv")


def _digest(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_terms_and_figures_are_in_the_curves(adapted):
    folder = _train()
    rows = _curve()
    losses = [name for name in rows if name.startswith("loss_")]
    assert losses == [f"loss_{name}" for name in ["dice", "ce", *TERMS]]
    assert (rows[losses[2:]] > 0).all().all()
    shares = rows[["marginal_accuracy", "conditional_accuracy", "target_entropy"]]
    assert ((shares >= 0) & (shares <= 1)).all().all()
    assert (rows["prototype_distance"] > 0).all()
    assert rows["score"].to_numpy() == pytest.approx(rows["val_dice"] - rows["target_entropy"])
    card = load_model(folder).card
    assert card.best_epoch == rows["epoch"][rows["score"] == rows["score"].max()].iloc[-1]
    assert card.adaptation is not None
    assert card.adaptation["variant"] is None
    assert sorted(f.name for f in folder.glob("epoch*")) == [f"epoch000{n}.safetensors" for n in (1, 2, 3)]


@pytest.mark.stress
def test_before_it_starts_training_is_of_the_source_alone(adapted, set_params):
    set_params(adapt={**ON, "start": 0.5}, validate_every=1, epochs=4)
    _train()
    _train("source_only")
    rows, alone = _curve(), _curve("crossmodalnet-source_only")
    for name in ("loss_marginal", "prototype_distance"):
        assert rows[name].isna().tolist() == [True, True, False, False]
    assert rows["loss"].notna().all()
    names = ["loss_dice", "loss_ce"]
    assert rows[names].iloc[:2].equals(alone[names].iloc[:2])


def test_target_samples_are_seen_every_few_steps_each_once(adapted, set_params, monkeypatch):
    step, seen = Learner.step, []

    def watching(self, *arguments, target, **keywords):
        seen.append(target and (target.number, target.image.numpy().tobytes()))
        return step(self, *arguments, target=target, **keywords)

    monkeypatch.setattr(Learner, "step", watching)
    _train()
    every_step = seen.copy()
    seen.clear()
    set_params(adapt={**ON, "every": 2})
    _train()
    assert seen[1::2] == [None] * 4
    assert seen[0::2] == every_step[:5]


def test_source_images_take_on_the_targets_intensities(adapted, set_params):
    first = []
    for share in (0.0, 1.0):
        set_params(adapt={**ON, "appearance": share}, epochs=1)
        _train()
        first.append(_curve()["loss_ce"][0])
    assert first[0] != first[1]


@pytest.mark.stress
def test_labels_of_the_target_can_be_deleted(adapted, cohort):
    before = _digest(_train())
    shutil.rmtree(cohort / "data/target_labels")
    shutil.rmtree(cohort / ".work")
    assert _digest(_train()) == before


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.stress), 2])
def test_resume_within_an_epoch_is_bit_exact(adapted, cohort, steps, set_params, every):
    set_params(adapt={**ON, "every": every}, validate_every=1)
    whole = _digest(_train())
    shutil.rmtree(cohort / ".work")
    taken, at = steps
    at[9 + 5] = lambda: signal.raise_signal(signal.SIGTERM)  # of three steps per epoch
    with pytest.raises(InterruptedRunError, match="epoch 2 of 3, step 2 of 3"):
        _train()
    assert _digest(_train()) == whole
    assert len(taken) == 9 + 9


def test_source_only_is_training_without_adaptation(adapted, set_params):
    alone = load_model(_train("source_only"))
    assert "loss_marginal" not in _curve("crossmodalnet-source_only")
    set_params(validate_every=1)
    plain = load_model(_train())
    assert plain.card.adaptation is None
    for name, tensor in plain.network.state_dict().items():
        assert torch.equal(tensor, alone.network.state_dict()[name])


def test_supervised_trains_on_the_targets_labels(adapted, cohort):
    card = json.loads((_train("supervised") / "card.json").read_text("utf-8"))
    assert (card["training_pairs"], card["validation_pairs"]) == (["p", "q", "r"], ["s"])
    (cohort / "data/target_labels/cases.json").write_text('["t"]')
    with pytest.raises(UsageError, match=r"supervised trains on labels .* does not have"):
        _train("supervised")


@pytest.mark.stress
def test_other_variants_change_what_they_say(adapted):
    whole = AdaptSection(**ON)
    for name in set(ADAPTATIONS) - {"source_only", "supervised"}:
        params = with_adaptation(read_params("crossmodalnet"), name)
        assert params.name == f"crossmodalnet-{name}"
        changes = ADAPTATIONS[name].changes
        assert {key: getattr(params.adapt, key) for key in changes} == dict(changes)
        assert {key: getattr(whole, key) for key in changes} != dict(changes)
    folder = _train("no_marginal")
    assert "loss_conditional" in _curve("crossmodalnet-no_marginal")
    assert load_model(folder).card.name == "crossmodalnet-no_marginal"


def test_what_cannot_be_adapted(adapted, set_params):
    with pytest.raises(UsageError, match="only crossmodalnet has the features"):
        _train(model="mednext")
    message = "no adaptation 'nothing' of crossmodalnet; crossmodalnet has source_only"
    with pytest.raises(UsageError, match=message):
        _train("nothing")
    set_params(adapt=ON, losses={"cmif": 0.1})
    with pytest.raises(UsageError, match=r"losses\.cmif and adapt\.enabled cannot be had together"):
        _train()
    set_params()
    with pytest.raises(UsageError, match=r"adaptation kernel: adapt\.enabled is false"):
        _train("kernel")
