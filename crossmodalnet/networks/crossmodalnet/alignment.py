"""Move the MR onto the CT by cross attention over all positions (not in the paper).

Convolutions and windows reach a few tokens. Here every place of the CT asks all places of the MR, and the answer is a
position: the correspondences give a rigid transform, by which the MR is resampled before the streams. Then the CT asks
at twice the resolution, but near each place only, which makes the transform more exact.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.imaging.samples import block_centres, is_missing, sample_at
from crossmodalnet.networks.crossmodalnet.convolution import Conv1x1, ResidualConvBlock

CHANNELS = 48
MAX_TOKENS = 12  # per axis, since all pairs of tokens are compared
LEAST_STRIDE = 4  # voxels per token
# Of all places, and near each; every pass sees the MR where the last one put it.
PASSES, NEAR_PASSES = 2, 4
# A smaller mean move, voxels, is not made: errors and interpolation would cost more than it brings.
STILL = 1.0
# The robust fit: steps, and the residual, tokens, from which an answer counts little, first and last.
FIT_STEPS, FIRST_WIDTH, LAST_WIDTH = 8, 3.0, 1.0


class Alignment(nn.Module):
    """Estimate the rigid transform from CT to MR and resample the MR by it.

    The features have no position encoding, so that only content matches. `loss` alone trains them, on MRs that were
    moved by known transforms.

    Example: (1, 2, 40, 40, 40) -> features (1, 48, 1000) of both -> attention (1, 1000, 1000) -> transform (1, 3, 4).
    Near: features (1, 16, 20, 20, 20) -> attention (1, 8000, 27).
    """

    def __init__(self) -> None:
        super().__init__()
        few = CHANNELS // 3
        self.stems = nn.ModuleList(ResidualConvBlock(1, few) for _ in range(2))
        self.encoders = nn.ModuleList(
            nn.Sequential(
                ResidualConvBlock(few, CHANNELS, (2, 2, 2)),
                ResidualConvBlock(CHANNELS, CHANNELS),
                Conv1x1(CHANNELS, CHANNELS),
            )
            for _ in range(2)
        )
        self.near_encoders = nn.ModuleList(Conv1x1(few, few) for _ in range(2))
        self.log_scale, self.near_log_scale = (nn.Parameter(torch.tensor(2.0)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Move the MR of `(b, 2, D, H, W)`, CT then MR; it stays where one is missing or it would hardly move."""
        transform = self.transform(x)
        still = (transform == _identity(x)).all(dim=2).all(dim=1)
        return torch.where(still[:, None, None, None, None], x, torch.cat([x[:, :1], move(x[:, 1:], transform)], dim=1))

    @torch.no_grad()
    def transform(self, x: Tensor) -> Tensor:
        """Estimate rotation and shift from CT to MR, `(b, 3, 4)`, in voxels from the centre."""
        total = _identity(x)
        asking = self._stem(x[:, :1], 0)
        for near in (False,) * PASSES + (True,) * NEAR_PASSES:
            asked = self._stem(move(x[:, 1:], total), 1)
            points, stride = _tokens(x, near)
            answers = _near_answers if near else _answers
            scores = (self._near_scores if near else self._scores)(asking, asked)
            total = _compose(_rigid(points / stride, *answers(scores, points / stride), stride), total)
        points = _tokens(x)[0]
        inner = points[points.norm(dim=1) < points.abs().max()]
        moves = (_apply(total, inner) - inner).norm(dim=2).mean(dim=1)
        return torch.where(((moves < STILL) | is_missing(x).any(dim=1))[:, None, None], _identity(x), total)

    def loss(self, x: Tensor, transform: Tensor) -> Tensor:
        """Compute the cross-entropy, nats, of both attentions against the true positions of CT tokens in the MR.

        Args:
            x: `(b, 2, D, H, W)`, CT and moved MR; the second half was moved little, all of one sample.
            transform: `(b, 3, 4)` from CT to MR.

        Tokens whose true position is none of those asked do not count; one between tokens is shared trilinearly.
        """
        half = len(x) // 2
        asking, asked = (self._stem(x[:, k : k + 1], k) for k in range(2))
        points, stride = _tokens(x)
        everywhere = _entropy(
            self._scores(asking, asked), (_apply(transform, points) - points[0]) / stride, _token_size(x)
        )
        points, stride = _tokens(x, near=True)
        places = (_apply(transform[half:], points) - points) / stride + 1
        return everywhere + _entropy(self._near_scores(asking[half:], asked[half:]), places, [3, 3, 3])

    def _scores(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Score all tokens of the MR for each of the CT, `(b, n, n)`, from both stems' maps."""
        asking, asked = (
            _unit(encoder(own)).flatten(2) for encoder, own in zip(self.encoders, (asking, asked), strict=True)
        )
        with torch.autocast(asked.device.type, enabled=False):
            return self.log_scale.exp() * asking.transpose(1, 2) @ asked

    def _near_scores(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Score the 27 tokens of half the size around each, `(b, n, 27)`; those outside are -inf."""
        asking, asked = (_unit(encoder(own)) for encoder, own in zip(self.near_encoders, (asking, asked), strict=True))
        with torch.autocast(asked.device.type, enabled=False):
            scores = torch.stack([(asking * own).sum(dim=1).flatten(1) for own in _around(asked)], dim=2)
        inside = torch.stack([own.flatten(1) for own in _around(torch.ones_like(asked[:, 0]))], dim=2)
        return (scores * self.near_log_scale.exp()).masked_fill(inside == 0, -torch.inf)

    def _stem(self, image: Tensor, stream: int) -> Tensor:
        """Compute the map `(b, c, d, h, w)` of the CTs or the MRs at half a token."""
        d, h, w = _token_size(image)
        return cast(Tensor, self.stems[stream](functional.adaptive_avg_pool3d(image, (2 * d, 2 * h, 2 * w))))


def _unit(maps: Tensor) -> Tensor:
    return functional.normalize(maps.float(), dim=1)


def _around(maps: Tensor) -> Iterator[Tensor]:
    """Yield maps `(..., d, h, w)` shifted to each of the 27 neighbours, zero outside."""
    d, h, w = maps.shape[-3:]
    padded = functional.pad(maps, (1,) * 6)
    for i, j, k in product(range(3), repeat=3):
        yield padded[..., i : i + d, j : j + h, k : k + w]


def _offsets(like: Tensor) -> Tensor:
    """Return the places of `_around` relative to the voxel, `(27, 3)`."""
    return like.new_tensor(list(product((-1.0, 0.0, 1.0), repeat=3)))


def _entropy(scores: Tensor, places: Tensor, size: Sequence[int]) -> Tensor:
    """Compute the cross-entropy of scores `(b, n, m)` of a grid of `size`, where the true `places` are `(b, n, 3)`."""
    limits = places.new_tensor(size)
    corners = places.floor()[:, :, None] + places.new_tensor(list(product((0.0, 1.0), repeat=3)))
    shares = (1 - (places[:, :, None] - corners).abs()).prod(dim=3)
    numbers = corners.clamp_min(0).minimum(limits - 1) @ places.new_tensor([size[1] * size[2], size[2], 1])
    found = scores.log_softmax(dim=2).gather(2, numbers.long())
    shares = shares * (((corners >= 0) & (corners < limits)).all(dim=3) & found.isfinite())
    inside = (shares.sum(dim=2) > 0.999).to(shares.dtype)
    entropy = -torch.where(shares > 0, shares * found, 0.0).sum(dim=2)
    return (entropy * inside).sum() / inside.sum().clamp_min(1)


def move(image: Tensor, transform: Tensor) -> Tensor:
    """Sample `(b, c, D, H, W)` at `transform` `(b, 3, 4)` of every voxel, trilinearly; borders repeat."""
    size = image.shape[2:]
    there = _apply(transform, block_centres(size, size, image).view(-1, 3))
    return sample_at(image, there.view(len(image), *size, 3))


def _token_size(image: Tensor) -> list[int]:
    stride = max(LEAST_STRIDE, ceil(max(image.shape[2:]) / MAX_TOKENS))
    return [max(1, round(n / stride)) for n in image.shape[2:]]


def _tokens(image: Tensor, near: bool = False) -> tuple[Tensor, Tensor]:
    """Return the tokens' positions `(n, 3)`, voxels from the centre, and their distances `(3,)`, near half as far."""
    size, tokens = image.shape[2:], [n * (1 + near) for n in _token_size(image)]
    stride = image.new_tensor([n / m for n, m in zip(size, tokens, strict=True)])
    return block_centres(size, tokens, image).view(-1, 3), stride


def _answers(scores: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Average the positions within a token of the attention's peak, `(b, n, 3)`; weigh each by its squared share."""
    attention = scores.softmax(dim=2)
    peak = points[attention.argmax(dim=2)]
    near = attention * ((peak[:, :, None] - points).abs().amax(dim=3) < 1.5)
    share = near.sum(dim=2)
    return near @ points / share[:, :, None], share**2


def _near_answers(scores: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Average the positions near each place, `(b, n, 3)` in tokens; weigh each by its attention's squared peak."""
    attention = scores.softmax(dim=2)
    return points + attention @ _offsets(scores), attention.amax(dim=2) ** 2


def _rigid(points: Tensor, found: Tensor, weights: Tensor, stride: Tensor) -> Tensor:
    """Fit a rotation and a shift, voxels, to correspondences in tokens by reweighted least squares (Kabsch 1976)."""
    start, end = (points * stride).double().expand(len(found), -1, -1), (found * stride).double()
    weights, width = weights.double(), FIRST_WIDTH
    robust = weights
    for _ in range(FIT_STEPS):
        share = (robust / robust.sum(dim=1, keepdim=True))[:, :, None]
        centres = [(share * p).sum(dim=1, keepdim=True) for p in (start, end)]
        u, _, vt = torch.linalg.svd((end - centres[1]).transpose(1, 2) @ (share * (start - centres[0])))
        signs = torch.ones_like(u[:, 0])
        signs[:, 2] = torch.linalg.det(u @ vt)
        rotation = u * signs[:, None] @ vt
        shift = centres[1].transpose(1, 2) - rotation @ centres[0].transpose(1, 2)
        transform = torch.cat([rotation, shift], dim=2)
        width = max(LAST_WIDTH, 0.7 * width)
        residual = ((end - _apply(transform, start)) / stride).norm(dim=2)
        robust = weights / (1 + (residual / width) ** 2) ** 2
    return transform.float()


def _apply(transform: Tensor, points: Tensor) -> Tensor:
    """Map points `(n, 3)` or `(b, n, 3)` by `(b, 3, 4)`."""
    return points @ transform[:, :, :3].transpose(1, 2) + transform[:, None, :, 3]


def _compose(second: Tensor, first: Tensor) -> Tensor:
    """Return `x -> first(second(x))`: `second` was found on what `first` moved."""
    return torch.cat([first[:, :, :3] @ second[:, :, :3], _apply(first, second[:, None, :, 3]).transpose(1, 2)], dim=2)


def _identity(x: Tensor) -> Tensor:
    return torch.eye(3, 4, device=x.device).expand(len(x), 3, 4)
