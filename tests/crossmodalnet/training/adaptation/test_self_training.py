import math

import pytest
import torch

from crossmodalnet.training.adaptation.self_training import pseudo_label_loss


def maps(*probabilities):
    """Logits of one image with a voxel per row of probabilities."""
    return torch.tensor(probabilities).log().T[None, :, :, None, None]


def test_by_hand_each_class_has_one_share():
    # Voxels 1 to 3 are of class 0, voxel 4 of class 2; voxel 5 is not sure enough.
    first = [0.9, 0.05, 0.05]
    logits = maps(first, first, [0.8, 0.1, 0.1], [0.0301, 0.0099, 0.96], [0.1, 0.5, 0.4])
    expected = ((-2 * math.log(0.9) - math.log(0.8)) / 3 - math.log(0.96)) / 2
    assert pseudo_label_loss(logits, 0.7).item() == pytest.approx(expected, rel=1e-5)


def test_sure_of_nothing_is_nothing_and_finite():
    logits = maps([0.4, 0.3, 0.3]).requires_grad_()
    loss = pseudo_label_loss(logits, 0.7)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_descent_makes_the_sure_surer_and_leaves_the_others():
    logits = maps([0.8, 0.1, 0.1], [0.4, 0.3, 0.3]).requires_grad_()
    pseudo_label_loss(logits, 0.7).backward()
    after = (logits.detach() - logits.grad).softmax(1)[0, :, :, 0, 0]
    assert after[0, 0] > 0.8
    torch.testing.assert_close(after[:, 1], torch.tensor([0.4, 0.3, 0.3]))
