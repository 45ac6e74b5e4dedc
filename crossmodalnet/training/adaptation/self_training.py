"""Term `self_training`: confident predictions of the target are its labels, each class with one share."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term


class SelfTrainingTerm(Term):
    """Cross-entropy of the target with the network's own confident labels."""

    name = "self_training"
    places = ("output",)

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the cross-entropy with the target's own labels."""
        (logits,) = views["output"]
        return pseudo_label_loss(logits[domains.num_source :], self.config.confidence), ()


def pseudo_label_loss(logits: Tensor, confidence: float) -> Tensor:
    """Compute the cross-entropy with the network's own labels where their probability exceeds `confidence`.

    The mean over the voxels of each predicted class, then over classes, so that background has one share and not
    nine tenths (class-balanced self-training, Zou et al. 2018; pseudo-labels, Lee 2013). Its gradient moves decision
    boundaries away from undecided voxels. Labels carry no gradient.

    Args:
        logits: logits of unlabelled images, `(b, k, d, h, w)`.
        confidence: 0 to below 1.

    Returns:
        Scalar, at least 0; 0 where no prediction is confident.
    """
    # The cross-entropy with one's own label is minus the log of the largest probability.
    log_probability, label = logits.float().log_softmax(1).max(1)
    loss, classes = -log_probability.flatten(), label.flatten()
    counted = loss.detach() < -math.log(confidence) if confidence else torch.ones_like(loss, dtype=torch.bool)
    zeros = logits.new_zeros(logits.shape[1])
    sums = zeros.index_add(0, classes, torch.where(counted, loss, 0.0))
    counts = zeros.index_add(0, classes, counted.to(loss.dtype))
    return (sums / counts.clamp_min(1)).sum() / (counts > 0).sum().clamp_min(1)
