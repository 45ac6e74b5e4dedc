"""Deformable operator (Def. 3, Eq. 7): weighted samples at learned offsets from each location."""

import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import Offsets

INITIAL_OFFSET = 0.1  # voxels: near the identity, but different for each of the K samples


def deformable_sample(features: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Compute Eq. 7: `sum_k w_k F(p + dp_k)` at every location p, by trilinear interpolation.

    Positions outside the map take the value of the nearest border voxel. `embedding_bag` sums all K samples without
    storing them.

    Args:
        features: (b, d, h, w, c), as is the result.
        offsets: (b or 1, d, h, w, K, 3), in voxels, along d, h, w.
        weights: (K,).
    """
    b, *size, c = features.shape
    indices, coefficients = _corners(offsets, size)  # (b or 1, d * h * w, K, 8)
    coefficients = coefficients * weights[:, None]
    num_locations = indices.shape[1]
    first = torch.arange(b, device=features.device)[:, None, None, None] * num_locations
    out = nn.functional.embedding_bag(
        (indices + first).view(b * num_locations, -1),
        features.reshape(b * num_locations, c),
        mode="sum",
        per_sample_weights=coefficients.expand(b, -1, -1, -1).reshape(b * num_locations, -1).to(features.dtype),
    )
    return out.view(features.shape)


def _corners(offsets: Tensor, size: list[int]) -> tuple[Tensor, Tensor]:
    """Find the eight voxels around each sample: their flat indices and trilinear coefficients."""
    index: Tensor | None = None
    coefficient: Tensor | None = None
    for axis, n in enumerate(size):
        shape = [1] * 5
        shape[axis + 1] = n
        here = torch.arange(n, device=offsets.device, dtype=offsets.dtype).view(shape)
        position = (here + offsets[..., axis]).clamp(0, n - 1).flatten(1, 3)  # (b, d * h * w, K)
        low = position.detach().floor()
        fraction = position - low
        corner = torch.stack([low, (low + 1).clamp(max=n - 1)], dim=-1).long()
        share = torch.stack([1 - fraction, fraction], dim=-1)
        if index is None or coefficient is None:
            index, coefficient = corner, share
        else:
            index = (index[..., :, None] * n + corner[..., None, :]).flatten(-2)
            coefficient = (coefficient[..., :, None] * share[..., None, :]).flatten(-2)
    assert index is not None
    assert coefficient is not None
    return index, coefficient


class DeformableOperator(nn.Module):
    """Apply Eq. 7 with learned offsets, each within `max_offset` voxels per axis (through tanh).

    `offsets: static` (the paper) holds `3 K D H W` parameters (Theorem 2.2) for maps of one `size`; `predicted`
    computes them from the features by a 3x3x3 convolution, for any size. The K weights start at 1/K.

    Example: F (1, 24, 24, 24, 24), K = 4 -> offsets (1, 24, 24, 24, 4, 3) -> (1, 24, 24, 24, 24).
    """

    def __init__(
        self, dim: int, size: Triple, *, num_points: int = 4, max_offset: float = 2.0, offsets: Offsets = "static"
    ) -> None:
        super().__init__()
        self.size = size
        self.num_points = num_points
        self.max_offset = max_offset
        self.weights = nn.Parameter(torch.full((num_points,), 1 / num_points))
        scale = INITIAL_OFFSET / max_offset
        if offsets == "static":
            self.raw_offsets: nn.Parameter | None = nn.Parameter(torch.randn(1, *size, num_points, 3) * scale)
            self.predict: nn.Conv3d | None = None
        else:
            self.raw_offsets = None
            self.predict = nn.Conv3d(dim, 3 * num_points, 3, padding=1)
            nn.init.normal_(self.predict.weight, std=scale / (27 * dim) ** 0.5)
            assert self.predict.bias is not None
            nn.init.normal_(self.predict.bias, std=scale)

    def offset_parameters(self) -> list[nn.Parameter]:
        """List the parameters of the offsets: all but the K weights."""
        return [parameter for parameter in self.parameters() if parameter is not self.weights]

    def offsets(self, features: Tensor) -> Tensor:
        """Compute the offsets `(b or 1, d, h, w, K, 3)` for `features`, in voxels, within +-`max_offset`."""
        if self.predict is None:
            assert self.raw_offsets is not None
            raw: Tensor = self.raw_offsets
        else:
            raw = self.predict(features.movedim(-1, 1)).movedim(1, -1).unflatten(-1, (self.num_points, 3))
        # Half precision cannot resolve positions in a map of 100 voxels.
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        return self.max_offset * torch.tanh(raw)

    def forward(self, features: Tensor) -> Tensor:
        """Sample `(b, d, h, w, c)` around every location; the shape stays.

        Raises:
            ValueError: offsets are static, and the map has another size.
        """
        if self.predict is None and features.shape[1:4] != self.size:
            raise ValueError(f"offsets: static are tied to maps of {self.size}, got {tuple(features.shape[1:4])}")
        return deformable_sample(features, self.offsets(features), self.weights)
