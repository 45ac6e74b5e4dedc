"""Low-resolution voxels of both domains, drawn so that every class has its say."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from crossmodalnet.training.adaptation.common.sampling import draw_balanced


@dataclass(frozen=True)
class DrawnVoxels:
    """Rows of `rows(features)` that were drawn, and the classes they were drawn by.

    Attributes:
        source: row numbers among the source samples, `(m,)`.
        target: row numbers among the target samples, `(n,)`.
        source_classes: true classes, `(m,)`.
        target_classes: predicted classes, `(n,)`.
        source_posteriors: `(m, num_classes)`, no gradient.
        target_posteriors: `(n, num_classes)`, no gradient.
    """

    source: Tensor
    target: Tensor
    source_classes: Tensor
    target_classes: Tensor
    source_posteriors: Tensor
    target_posteriors: Tensor


def rows(maps: Tensor) -> Tensor:
    """Turn `(b, c, d, h, w)` into `(b * d * h * w, c)`."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


@torch.no_grad()
def draw_voxels(posteriors: Tensor, label: Tensor, per_class: int) -> DrawnVoxels:
    """Draw voxels of a coarser grid: of the source by its labels, of the target by the predictions.

    Uses torch's global generator, which training seeds anew in every step.

    Args:
        posteriors: class probabilities of a batch on the coarser grid, the source samples first, `(b, k, d, h, w)`.
        label: labels of the source samples at full resolution, `(s, D, H, W)`, s less than b.
        per_class: largest number of voxels of each class and domain.
    """
    num_source, num_classes = len(label), posteriors.shape[1]
    coarse = functional.interpolate(label[:, None].float(), posteriors.shape[2:], mode="nearest")
    true_classes = coarse.flatten().long()
    source, target = rows(posteriors[:num_source]), rows(posteriors[num_source:])
    predicted = target.argmax(1)
    generator = torch.default_generator
    s = draw_balanced(true_classes, per_class, num_classes, generator)
    t = draw_balanced(predicted, per_class, num_classes, generator)
    return DrawnVoxels(s, t, true_classes[s], predicted[t], source[s], target[t])


def coarse_posteriors(logits: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Average class probabilities over the voxels of a coarser grid, in single precision.

    Args:
        logits: `(b, k, D, H, W)`.
        size: voxels of the coarser grid, `(d, h, w)`.

    Returns:
        `(b, k, d, h, w)`, summing to 1 over axis 1.
    """
    return functional.adaptive_avg_pool3d(logits.float().softmax(1), size)


def at_drawn(maps: Tensor, num_source: int, drawn: DrawnVoxels) -> tuple[Tensor, Tensor]:
    """Pick the drawn voxels' features `(b, c, d, h, w)` of the source `(m, c)` and of the target `(n, c)`."""
    return rows(maps[:num_source])[drawn.source].float(), rows(maps[num_source:])[drawn.target].float()
