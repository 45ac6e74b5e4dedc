import math

import pytest
import torch

from crossmodalnet.training.objectives import at_size, cross_entropy, dice_loss, evaluate_objectives, level_weights

TARGET = torch.tensor([1, 0])[None, None, None]


def _logits(probabilities):
    """Logits (1, c, 1, 1, n) of the given class probabilities, one list per voxel."""
    return torch.tensor(probabilities).log().T[None, :, None, None, :]


def test_soft_dice_by_hand():
    # 2 * 0.8 / (1 + 0.8 + 0.1)
    loss = dice_loss(_logits([[0.2, 0.8], [0.9, 0.1]]), TARGET)
    assert loss.item() == pytest.approx(1 - 1.6 / 1.9, abs=1e-6)


def test_dice_leaves_out_structures_that_the_sample_lacks():
    loss = dice_loss(_logits([[0.1, 0.8, 0.1], [0.7, 0.1, 0.2]]), TARGET)
    assert loss.item() == pytest.approx(1 - 1.6 / 1.9, abs=1e-6)


def test_dice_of_a_sample_without_structures_is_zero_and_has_a_gradient_of_zero():
    logits = torch.zeros(1, 3, 2, 2, 2, requires_grad=True)
    loss = dice_loss(logits, torch.zeros(1, 2, 2, 2, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_cross_entropy_by_hand():
    loss = cross_entropy(_logits([[0.25, 0.75], [0.5, 0.5]]), TARGET)
    assert loss.item() == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)


def test_mean_over_equal_shares_is_the_value_of_the_batch():
    logits, target = torch.randn(4, 8, 3, 4, 5), torch.randint(0, 8, (4, 3, 4, 5))
    target[0] = 0
    target[1].clamp_(max=2)
    whole = evaluate_objectives(("dice", "ce"), logits, target)
    halves = [evaluate_objectives(("dice", "ce"), logits[s], target[s]) for s in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(whole, (halves[0] + halves[1]) / 2)


def test_each_level_weighs_half_of_the_finer_one():
    assert level_weights(1) == [1.0]
    assert level_weights(3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize(
    ("n", "m", "expected"), [(8, 4, [1, 3, 5, 7]), (8, 2, [2, 6]), (5, 3, [1, 3, 4]), (5, 2, [2, 4])]
)
def test_labels_are_taken_from_the_middle_of_a_coarse_voxel(n, m, expected):
    labels = torch.arange(n)[None, :, None, None].expand(2, n, 3, 3)
    found = at_size(labels, (m, 3, 3))
    assert found.shape == (2, m, 3, 3)
    assert found[1, :, 0, 2].tolist() == expected


def test_objectives_are_weighted_means_over_the_levels():
    target, names = torch.randint(0, 3, (2, 4, 4, 4)), ("dice", "ce")
    fine, coarse = torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 2, 2, 2)
    of_fine = evaluate_objectives(names, fine, target)
    of_coarse = evaluate_objectives(names, coarse, target[:, 1::2, 1::2, 1::2])
    both = evaluate_objectives(names, [fine, coarse], target)
    torch.testing.assert_close(both, (2 * of_fine + of_coarse) / 3)
    torch.testing.assert_close(evaluate_objectives(names, [fine], target), of_fine)
