"""Train on confident predictions of the target, balanced by class: term `self_training`."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term


class SelfTrainingTerm(Term):
    """Cross-entropy of the target with its confident pseudo-labels."""

    name = "self_training"
    places = ("output",)

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the cross-entropy with the target's pseudo-labels."""
        (logits,) = views["output"]
        return pseudo_label_loss(logits[domains.num_source :], self.config.confidence), ()


def pseudo_label_loss(logits: Tensor, confidence: float) -> Tensor:
    """Compute the cross-entropy of `(b, k, d, h, w)` with its labels of probability above `confidence`.

    Averages over the voxels of each predicted class, then over classes, so that background does not dominate
    (class-balanced self-training, Zou et al. 2018; pseudo-labels, Lee 2013). Labels carry no gradient; the loss is 0
    where no prediction is confident.
    """
    # The cross-entropy with the predicted label is minus the log of the largest probability.
    log_probability, label = logits.float().log_softmax(1).max(1)
    loss, classes = -log_probability.flatten(), label.flatten()
    counted = loss.detach() < -math.log(confidence) if confidence else torch.ones_like(loss, dtype=torch.bool)
    zeros = logits.new_zeros(logits.shape[1])
    sums = zeros.index_add(0, classes, torch.where(counted, loss, 0.0))
    counts = zeros.index_add(0, classes, counted.to(loss.dtype))
    return (sums / counts.clamp_min(1)).sum() / (counts > 0).sum().clamp_min(1)
