"""How far apart the same class lies in both domains, in units of how far apart classes lie."""

import torch
from torch import Tensor
from torch.nn import functional


def prototype_distance(
    source_features: Tensor,
    source_classes: Tensor,
    target_features: Tensor,
    target_classes: Tensor,
    num_classes: int,
) -> Tensor:
    """Mean distance between both domains' class means, over that between different classes of the source.

    Scale-free: 0 where every class has one mean in both domains, 1 where domains lie as far apart as classes.

    Args:
        source_features: `(n, c)`.
        source_classes: `(n,)`, integers from 0 to `num_classes - 1`.
        target_features: `(m, c)`.
        target_classes: `(m,)`.
        num_classes: background included.

    Returns:
        Scalar, at least 0; NaN where no class occurs in both domains or fewer than two in the source.
    """
    source, in_source = _means(source_features, source_classes, num_classes)
    target, in_target = _means(target_features, target_classes, num_classes)
    both = in_source & in_target
    present = source[in_source]
    i, j = torch.triu_indices(len(present), len(present), offset=1, device=source.device)
    if not both.any() or not len(i):
        return source.new_tensor(torch.nan)
    between = torch.linalg.vector_norm(present[i] - present[j], dim=1).mean()
    distance: Tensor = torch.linalg.vector_norm(source[both] - target[both], dim=1).mean() / between
    return distance


def _means(features: Tensor, classes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Means of the classes `(num_classes, c)`, and which classes occur."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    # A matrix product, as sums over an index are not reproducible on a GPU.
    members = functional.one_hot(classes.long(), num_classes).to(features)
    with torch.autocast(features.device.type, enabled=False):
        sizes = members.sum(0)
        return members.mT @ features / sizes.clamp_min(1).unsqueeze(1), sizes > 0
