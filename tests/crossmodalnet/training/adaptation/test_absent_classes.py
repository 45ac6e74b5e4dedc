"""A class that one domain lacks, or a whole side without rows, must leave values and gradients finite."""

import pytest
import torch
from torch import Tensor

from crossmodalnet.training.adaptation.conditional import ConditionalMap, entropy_weights
from crossmodalnet.training.adaptation.discriminators import VectorDiscriminator, domain_loss
from crossmodalnet.training.adaptation.term import draw_balanced
from crossmodalnet.training.adaptation.topology import topology_loss

NUM_CLASSES = 4
CLASSES = {
    "in neither": ([0, 0, 1, 2, 2], [0, 1, 1, 2]),
    "in the source alone": ([0, 1, 2, 3, 3], [0, 0, 2]),
    "in the target alone": ([0, 0, 2], [0, 1, 2, 3, 3]),
    "one class each": ([0, 0, 0], [3, 3]),
    "one row each": ([1], [2]),
    "no target": ([0, 1, 2, 3], []),
    "no source": ([], [0, 1, 2, 3]),
    "nothing": ([], []),
}


def _losses(features: tuple[Tensor, Tensor], posteriors: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    mapping = ConditionalMap(6, NUM_CLASSES)
    discriminator = VectorDiscriminator(mapping.out_dim, width=8)
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_balanced(p.argmax(1), 2, NUM_CLASSES, generator) for p in posteriors]
    rows = [f[d] for f, d in zip(features, drawn, strict=True)]
    certain = [p[d] for p, d in zip(posteriors, drawn, strict=True)]
    logits = [discriminator(mapping(f, p)) for f, p in zip(rows, certain, strict=True)]
    return {
        "conditional": domain_loss(*logits, *(entropy_weights(p) for p in certain)),
        "marginal": domain_loss(*(VectorDiscriminator(6, width=8)(f) for f in rows)),
        "topology": topology_loss(rows[1], rows[1].detach().flip(1).square()),
    }


@pytest.mark.parametrize("case", CLASSES)
@pytest.mark.parametrize("certainty", [1.0, 200.0])  # at 200 the posteriors are exactly one-hot
def test_losses_and_gradients_are_finite(case: str, certainty: float) -> None:
    generator = torch.Generator().manual_seed(0)
    sides = [torch.tensor(classes, dtype=torch.int64) for classes in CLASSES[case]]
    features = tuple(torch.randn(len(s), 6, generator=generator).requires_grad_() for s in sides)
    logits = tuple((certainty * torch.eye(NUM_CLASSES)[s]).requires_grad_() for s in sides)
    losses = _losses((features[0], features[1]), (logits[0].softmax(1), logits[1].softmax(1)))
    for name, loss in losses.items():
        assert loss.shape == (), name
        assert loss.isfinite(), name
    sum(losses.values()).backward()
    for x in (*features, *logits):
        assert x.grad is None or bool(x.grad.isfinite().all())
