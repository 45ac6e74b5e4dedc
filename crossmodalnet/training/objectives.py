"""Segmentation objectives: soft Dice and cross-entropy, with deep supervision."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional


def level_weights(num_levels: int) -> list[float]:
    """Weigh the deep supervision levels, finest first: each half the one before, sum 1 (as in nnU-Net)."""
    weights = [0.5**level for level in range(num_levels)]
    return [weight / sum(weights) for weight in weights]


def at_size(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Sample class indices `(b, d, h, w)` for a coarser output, at the middle of its voxels: `(b, *size)`.

    The stride for m outputs of n voxels is the power of two s with `m = ceil(n / s)`.
    """
    for axis, (n, m) in enumerate(zip(labels.shape[1:], size, strict=True), start=1):
        if n != m:
            stride = 1
            while -(-n // stride) > m:
                stride *= 2
            middle = (torch.arange(m, device=labels.device) * stride + stride // 2).clamp_max(n - 1)
            labels = labels.index_select(axis, middle)
    return labels


Objective = Callable[[Tensor, Tensor], Tensor]


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Compute one minus the soft Dice over the structures present in each sample; a scalar in [0, 1].

    Cross-entropy penalises false positives of absent structures. A sample without structures has loss 0. `logits` are
    `(b, c, d, h, w)`, where class 0 is background and does not count; `target` is class indices `(b, d, h, w)`.
    """
    num_classes = logits.shape[1]
    truth = functional.one_hot(target.long(), num_classes).movedim(-1, 1).to(logits.dtype)  # b c d h w
    truth, guess = truth[:, 1:].flatten(2), logits.softmax(1)[:, 1:].flatten(2)  # b s n
    size = truth.sum(2)
    dice = 2 * (truth * guess).sum(2) / (size + guess.sum(2)).clamp_min(1e-6)
    present = (size > 0).to(dice.dtype)
    return ((1 - dice) * present).sum(1).div(present.sum(1).clamp_min(1)).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the mean cross-entropy of `(b, c, d, h, w)` over all voxels, background included, in nats."""
    return functional.cross_entropy(logits, target.long())


OBJECTIVES: dict[str, Objective] = {"dice": dice_loss, "ce": cross_entropy}


def evaluate_objectives(names: tuple[str, ...], logits: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
    """Compute the objectives `names` of `(b, c, d, h, w)` and class indices `(b, d, h, w)` in single precision: `(m,)`.

    Deep supervision passes a list of logits, finest first, and gets the weighted mean.

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
