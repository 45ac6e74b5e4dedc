import copy
import math

import pytest
import torch
from torch import nn

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.samples import Batch
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.training.cmif import cmif_penalty
from crossmodalnet.training.objectives import evaluate_objectives
from pipeline.config.sections import LossesConfig, TrainConfig
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.learner import Learner
from pipeline.training.objectives import make_objective
from tests.pipeline.conftest import ALONE, NETWORK


def _learner(**changes):
    torch.manual_seed(0)
    return Learner(nn.Conv3d(2, 8, 1), LossesConfig(), TrainConfig(**changes), ALONE)


def _batch(value=1.0, size=4):
    random = torch.Generator().manual_seed(1)
    image = torch.rand(2, 2, size, size, size, generator=random) * value
    return Batch(("case_x", "case_y"), image, torch.randint(0, 8, (2, size, size, size), generator=random))


def _step(learner, number=0):
    return learner.step(_batch(), 0.01, number, "epoch 1, step 1")


def test_losses_fall_and_the_balancer_follows():
    learner = _learner()
    first = _step(learner)
    assert learner.balancer.state() == [first["loss_dice"], first["loss_ce"]]
    assert first["loss"] == pytest.approx((first["loss_dice"] + first["loss_ce"]) / 2)
    assert learner.balancer.weights[0] > 0.5  # Dice loss is the smaller one, and the paper's sign favours it
    for number in range(1, 30):
        last = _step(learner, number)
    assert last["loss_dice"] + last["loss_ce"] < first["loss_dice"] + first["loss_ce"]


def test_the_step_is_that_of_adam_on_the_balanced_sum():
    learner = _learner(grad_clip=None)
    reference = copy.deepcopy(learner.network)
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01)
    _step(learner)
    batch = _batch()
    logits = reference(batch.image)
    ce = nn.functional.cross_entropy(logits, batch.label)
    truth = nn.functional.one_hot(batch.label, 8).movedim(-1, 1).flatten(2)[:, 1:].float()
    guess = logits.softmax(1).flatten(2)[:, 1:]
    dice = 1 - (2 * (truth * guess).sum(2) / (truth.sum(2) + guess.sum(2))).mean()
    (0.5 * ce + 0.5 * dice).backward()
    optimizer.step()
    torch.testing.assert_close(learner.network.weight, reference.weight)


def test_checkpoints_hold_all_that_matters():
    learner = _learner(ema_decay=0.9)
    for number in range(3):
        _step(learner, number)
    other = _learner(ema_decay=0.9)
    other.restore(Checkpoint(copy.deepcopy(learner.tensors(finished=False)), learner.values()))
    for number in range(3, 6):
        assert _step(learner, number) == _step(other, number)
    for one, two in zip(learner.evaluated.parameters(), other.evaluated.parameters(), strict=True):
        assert torch.equal(one, two)


def test_running_mean_by_hand():
    learner = _learner(ema_decay=0.5)
    start = learner.network.weight.detach().clone()
    _step(learner, 0)
    expected = 0.1 * start + 0.9 * learner.network.weight  # decay (1 + 0) / (10 + 0) at first
    torch.testing.assert_close(learner.evaluated.weight, expected)
    _step(learner, 100)
    torch.testing.assert_close(learner.evaluated.weight, 0.5 * expected + 0.5 * learner.network.weight)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_place_and_cases(value):
    with pytest.raises(DataError, match=r"epoch 3, step 2: dice .*cases of the batch: case_x, case_y"):
        _learner().step(_batch(value), 0.01, 0, "epoch 3, step 2")


def test_weights_that_are_no_numbers():
    learner = _learner()
    learner.check_finite()
    with torch.no_grad():
        learner.network.bias[0] = math.nan
    with pytest.raises(DataError, match="bias is NaN or infinite"):
        learner.check_finite()


def _flow_learner(**changes):
    torch.manual_seed(0)
    options = {**NETWORK, "deep_supervision": False, **changes}
    network = build_network("crossmodalnet", options, patch_size=(16, 16, 16))
    return Learner(network, LossesConfig(), TrainConfig(), ALONE, lambda n: make_objective(n, 0.5))


def _penalty(network, batch):
    features = network.features(batch.image)
    return cmif_penalty(features, seed=7 * len(features)).item()


def test_the_flow_penalty_is_added_and_not_balanced():
    learner, batch = _flow_learner(), _batch(size=16)
    reference = copy.deepcopy(learner.network).train()
    values = learner.step(batch, 0.0, 7, "epoch 1, step 1")
    assert learner.names == ("dice", "ce", "cmif")
    assert learner.weights[-1] == 0.5
    assert sum(learner.weights[:-1]) == pytest.approx(1)
    assert learner.balancer.state() == [values["loss_dice"], values["loss_ce"]]
    assert values["loss_cmif"] == pytest.approx(_penalty(reference, batch))
    assert values["loss_cmif"] > 0


@pytest.mark.parametrize("options", [{}, {"stem": "linear", "transitions": "linear"}], ids=str)
def test_deep_supervision_is_of_the_objectives_and_leaves_the_flow_penalty(options):
    learner, batch = _flow_learner(deep_supervision=True, **options), _batch(size=16)
    reference = copy.deepcopy(learner.network).train()
    values = learner.step(batch, 0.0, 7, "epoch 1, step 1")
    expected = evaluate_objectives(("dice", "ce"), reference(batch.image), batch.label)
    assert [values["loss_dice"], values["loss_ce"]] == pytest.approx(expected.tolist())
    assert values["loss_cmif"] == pytest.approx(_penalty(reference, batch))


def test_networks_without_two_streams_learn_without_it():
    assert _flow_learner(streams="ct").names == ("dice", "ce")
    assert _flow_learner(cross=False).names == ("dice", "ce", "cmif")


def test_an_alignment_learns_beside_the_network():
    with pytest.raises(UsageError, match="align cannot be had together"):
        _flow_learner(align=True)
    torch.manual_seed(0)
    network = build_network("crossmodalnet", {**NETWORK, "align": True}, patch_size=(16, 16, 16))
    learner = Learner(network, LossesConfig(), TrainConfig(), ALONE, lambda n: make_objective(n, 0.0))
    before, batch = copy.deepcopy(network).train(), _batch(size=16)
    torch.manual_seed(1)
    values = learner.step(batch, 0.01, 0, "epoch 1, step 1")
    assert learner.names == ("dice", "ce", "alignment")
    expected = evaluate_objectives(("dice", "ce"), before(batch.image), batch.label)  # of the MRs as they are
    assert [values["loss_dice"], values["loss_ce"]] == pytest.approx(expected.tolist())
    assert (
        0 < values["loss_alignment"] < math.log(4**3) + math.log(27) + 2
    )  # 4 tokens per axis, 27 near; hardly trained
    changed = {name for name, p in network.named_parameters() if not torch.equal(p, before.get_parameter(name))}
    assert any(name.startswith("alignment.encoders.1") for name in changed)
    assert any(name.startswith("stems") for name in changed)
    torch.manual_seed(1)
    again = Learner(before, LossesConfig(), TrainConfig(), ALONE, lambda n: make_objective(n, 0.0))
    assert again.step(batch, 0.01, 0, "epoch 1, step 1") == values
