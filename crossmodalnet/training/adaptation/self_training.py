"""Term `self_training`: what the network is sure of in the target it learns to be surer of, each class alike."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term, TermValue


class SelfTrainingTerm(Term):
    """The network's own labels of the target, where it is sure of them."""

    name = "self_training"
    places = ("output",)

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> TermValue:
        """Compute the cross-entropy with the target's own labels."""
        (logits,) = views["output"]
        return TermValue(pseudo_label_loss(logits[domains.num_source :], self.settings.confidence))


def pseudo_label_loss(logits: Tensor, confidence: float) -> Tensor:
    """Cross-entropy with the network's own labels, where it gives them a probability above `confidence`.

    The mean over the voxels of each predicted class, then over classes, so that background has one share of
    them and not nine tenths (class-balanced self-training, Zou et al. 2018; pseudo-labels, Lee 2013). Its
    gradient moves decision boundaries away from voxels that are nearly decided: of all, it is the term that aligns
    what classes look like, not only features. Labels carry no gradient.

    Args:
        logits: logits of unlabelled images, `(b, k, d, h, w)`.
        confidence: 0 to below 1.

    Returns:
        Scalar, at least 0; 0 where the network is sure of nothing.

    Raises:
        ValueError: `confidence` is out of range.
    """
    if not 0 <= confidence < 1:
        raise ValueError(f"confidence must lie in [0, 1), got {confidence}")
    # The cross-entropy with one's own label is minus the log of the largest probability.
    sure, label = logits.float().log_softmax(1).max(1)
    loss, classes = -sure.flatten(), label.flatten()
    counted = loss.detach() < -math.log(confidence) if confidence else torch.ones_like(loss, dtype=torch.bool)
    zeros = logits.new_zeros(logits.shape[1])
    sums = zeros.index_add(0, classes, torch.where(counted, loss, 0.0))
    counts = zeros.index_add(0, classes, counted.to(loss.dtype))
    return (sums / counts.clamp_min(1)).sum() / (counts > 0).sum().clamp_min(1)
