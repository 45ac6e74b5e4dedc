"""The two segmentation objectives of the paper's section 2.3: soft Dice and cross-entropy.

Both are means over the samples of a batch, so the mean over processes of equal shares is that of the whole.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from crossmodalnet.training.deep_supervision import at_size, level_weights

Objective = Callable[[Tensor, Tensor], Tensor]


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, over the structures present in each sample.

    A structure absent from a sample's truth has no Dice coefficient; its false positives are the business of
    the cross-entropy. A sample without any structure counts as loss 0.

    Args:
        logits: `(b, c, d, h, w)`, class 0 is background and does not count.
        target: class indices `(b, d, h, w)`.

    Returns:
        Scalar in [0, 1].
    """
    num_classes = logits.shape[1]
    truth = functional.one_hot(target.long(), num_classes).movedim(-1, 1).to(logits.dtype)  # b c d h w
    truth, guess = truth[:, 1:].flatten(2), logits.softmax(1)[:, 1:].flatten(2)  # b s n
    size = truth.sum(2)
    dice = 2 * (truth * guess).sum(2) / (size + guess.sum(2)).clamp_min(1e-6)
    present = (size > 0).to(dice.dtype)
    return ((1 - dice) * present).sum(1).div(present.sum(1).clamp_min(1)).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over all voxels, background included, in nats.

    Args:
        logits: `(b, c, d, h, w)`.
        target: class indices `(b, d, h, w)`.
    """
    return functional.cross_entropy(logits, target.long())


OBJECTIVES: dict[str, Objective] = {"dice": dice_loss, "ce": cross_entropy}


def evaluate_objectives(names: tuple[str, ...], logits: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
    """Compute the named objectives, in single precision whatever the precision of the logits.

    Args:
        names: keys of `OBJECTIVES`.
        logits: `(b, c, d, h, w)`, or with deep supervision a list of them, finest first.
        target: class indices `(b, d, h, w)`.

    Returns:
        `(m,)`; with deep supervision each is the weighted mean over the levels.

    >>> logits, target = torch.zeros(1, 8, 4, 4, 4), torch.ones(1, 4, 4, 4)
    >>> [round(loss, 3) for loss in evaluate_objectives(("dice", "ce"), logits, target).tolist()]
    [0.778, 2.079]
    """
    if isinstance(logits, Tensor):
        logits = logits.float()
        return torch.stack([OBJECTIVES[name](logits, target) for name in names])
    weights = level_weights(len(logits))
    levels = [evaluate_objectives(names, level, at_size(target, level.shape[2:])) for level in logits]
    return torch.stack([weight * level for weight, level in zip(weights, levels, strict=True)]).sum(0)
