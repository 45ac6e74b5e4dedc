import math

import pytest
import torch
from torch import nn

from crossmodalnet.training.adaptation.discriminators import (
    PatchDiscriminator,
    VectorDiscriminator,
    domain_accuracy,
    domain_loss,
)

EMPTY = torch.empty(0)


@pytest.mark.parametrize(
    ("size", "stride", "out"),
    [((5, 5, 5), 1, (5, 5, 5)), ((40, 40, 40), 2, (20, 20, 20)), ((5, 6, 7), 2, (3, 3, 4)), ((1, 2, 1), 1, (1, 2, 1))],
)  # fmt: skip
def test_patch_logits(size, stride, out):
    discriminator = PatchDiscriminator(6, width=8, stride=stride)
    x = torch.randn(2, 6, *size, requires_grad=True)
    logits = discriminator(x)
    assert logits.shape == (2, 1, *out)
    logits.sum().backward()
    assert x.grad.abs().sum() > 0


def test_a_patch_sees_one_voxel_further_per_layer():
    discriminator = PatchDiscriminator(3, width=4, num_layers=2).eval()
    x = torch.zeros(1, 3, 9, 9, 9, requires_grad=True)
    discriminator(x)[0, 0, 4, 4, 4].backward()
    seen = x.grad.abs().sum(1)[0].nonzero()
    assert [seen.min(0).values.tolist(), seen.max(0).values.tolist()] == [[2, 2, 2], [6, 6, 6]]


@pytest.mark.parametrize("kind", [PatchDiscriminator, VectorDiscriminator])
@torch.no_grad()
def test_spectral_norms_are_one(kind):
    for layer in kind(6, width=8).modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            for _ in range(300):  # each access is a step of the power iteration
                weight = layer.weight
            assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


def test_vector_logits_also_of_no_rows():
    discriminator = VectorDiscriminator(5)
    assert discriminator(torch.randn(7, 5)).shape == (7,)
    loss = domain_loss(discriminator(torch.randn(3, 5)), discriminator(torch.empty(0, 5)))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in discriminator.parameters())


def test_loss_by_hand():
    source, target = torch.tensor([0.0, math.log(3)]), torch.tensor([math.log(3)])
    # -log of 1/2 and 3/4 for the source, of 1/4 for the target.
    expected = (math.log(2) + math.log(4 / 3)) / 4 + math.log(4) / 2
    assert domain_loss(source, target).item() == pytest.approx(expected)
    weighted = (3 * math.log(2) + math.log(4 / 3)) / 8 + math.log(4) / 2
    weights = torch.tensor([3.0, 1.0]), torch.tensor([0.1])
    assert domain_loss(source, target, *weights).item() == pytest.approx(weighted)
    of_maps = domain_loss(torch.zeros(2, 1, 3, 3, 3), torch.zeros(5, 1, 2, 2, 2))
    assert of_maps.item() == pytest.approx(math.log(2))


def test_an_empty_side_adds_nothing():
    logits = torch.tensor([0.0, 0.0], requires_grad=True)
    assert domain_loss(logits, EMPTY).item() == pytest.approx(math.log(2) / 2)
    assert domain_loss(EMPTY, logits, EMPTY, torch.ones(2)).item() == pytest.approx(math.log(2) / 2)
    assert domain_loss(EMPTY, EMPTY).item() == 0
    domain_loss(logits, EMPTY, torch.zeros(2), EMPTY).backward()
    assert torch.equal(logits.grad, torch.zeros(2))


def test_large_logits_stay_finite():
    logits = torch.tensor([1e4, -1e4], dtype=torch.float32, requires_grad=True)
    loss = domain_loss(logits, logits)
    loss.backward()
    assert loss.item() == pytest.approx(5e3)
    assert logits.grad.isfinite().all()
    assert domain_loss(logits.bfloat16(), logits.bfloat16()).dtype == torch.float32


def test_accuracy_by_hand():
    source, target = torch.tensor([1.0, 2.0, -1.0, 0.0]), torch.tensor([-1.0, 0.0, 5.0])
    assert domain_accuracy(source, target).item() == pytest.approx((2 / 4 + 2 / 3) / 2)
    assert domain_accuracy(source, EMPTY).item() == 0.5
    assert domain_accuracy(EMPTY, EMPTY).isnan()
    assert not domain_accuracy(source.requires_grad_(), target).requires_grad
