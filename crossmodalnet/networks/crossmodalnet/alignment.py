"""Move the MR onto the CT by cross attention over all positions (not in the paper).

Convolutions and windows reach a few tokens. Here every place of the CT asks all places of the MR, and the answer is a
position: the correspondences give a rigid transform, by which the MR is resampled before the streams.
"""

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.imaging.samples import block_centres, is_missing, sample_at
from crossmodalnet.networks.crossmodalnet.convolution import Conv1x1, ResidualConvBlock

CHANNELS = 48
MAX_TOKENS = 12  # per axis, since all pairs of tokens are compared
LEAST_STRIDE = 4  # voxels per token
PASSES = 2  # the second one sees the MR where the first one put it
# A smaller mean move, voxels, is not made: errors and interpolation would cost more than it brings.
STILL = 0.75
# The robust fit: steps, and the residual, tokens, from which an answer counts little, first and last.
FIT_STEPS, FIRST_WIDTH, LAST_WIDTH = 8, 3.0, 1.0


class Alignment(nn.Module):
    """Estimate the rigid transform from CT to MR and resample the MR by it.

    The features have no position encoding, so that only content matches. `loss` alone trains them, on MRs that were
    moved by known transforms.

    Example: (1, 2, 40, 40, 40) -> features (1, 1000, 48) of both -> attention (1, 1000, 1000) -> transform (1, 3, 4).
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            nn.Sequential(
                ResidualConvBlock(1, CHANNELS // 3),
                ResidualConvBlock(CHANNELS // 3, CHANNELS, (2, 2, 2)),
                ResidualConvBlock(CHANNELS, CHANNELS),
                Conv1x1(CHANNELS, CHANNELS),
            )
            for _ in range(2)
        )
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        """Move the MR of `(b, 2, D, H, W)`, CT then MR; it stays where one is missing or it would hardly move."""
        transform = self.transform(x)
        still = (transform == _identity(x)).all(dim=2).all(dim=1)
        return torch.where(still[:, None, None, None, None], x, torch.cat([x[:, :1], move(x[:, 1:], transform)], dim=1))

    @torch.no_grad()
    def transform(self, x: Tensor) -> Tensor:
        """Estimate rotation and shift from CT to MR, `(b, 3, 4)`, in voxels from the centre."""
        points, stride = _tokens(x)
        inner = points[points.norm(dim=1) < points.abs().max()]
        asking, total = self._features(x[:, :1], 0), _identity(x)
        missing = is_missing(x).any(dim=1)
        for _ in range(PASSES):
            scores = self._scores(asking, self._features(move(x[:, 1:], total), 1))
            total = _compose(_rigid(points / stride, *_answers(scores, points / stride), stride), total)
            moves = (_apply(total, inner) - inner).norm(dim=2).mean(dim=1)
            total = torch.where(((moves < STILL) | missing)[:, None, None], _identity(x), total)
        return total

    def loss(self, x: Tensor, transform: Tensor) -> Tensor:
        """Compute the attention's cross-entropy, nats, against the true positions `transform` of CT tokens in the MR.

        Tokens whose true position lies outside do not count; one between tokens is shared trilinearly.
        """
        points, stride = _tokens(x)
        gaps = (_apply(transform, points)[:, :, None] - points).abs() / stride
        shares = (1 - gaps).clamp_min(0).prod(dim=3)
        inside = (shares.sum(dim=2) > 0.999).to(shares.dtype)
        scores = self._scores(self._features(x[:, :1], 0), self._features(x[:, 1:], 1))
        entropy = -(shares * scores.log_softmax(dim=2)).sum(dim=2)
        return (entropy * inside).sum() / inside.sum().clamp_min(1)

    def _features(self, image: Tensor, stream: int) -> Tensor:
        """Compute features of unit norm `(b, n, c)` of an image `(b, 1, D, H, W)`."""
        d, h, w = _token_size(image)
        coarse = functional.adaptive_avg_pool3d(image, (2 * d, 2 * h, 2 * w))
        return functional.normalize(self.encoders[stream](coarse).float().flatten(2), dim=1).transpose(1, 2)

    def _scores(self, asking: Tensor, asked: Tensor) -> Tensor:
        with torch.autocast(asking.device.type, enabled=False):
            return self.log_scale.exp() * asking @ asked.transpose(1, 2)


def move(image: Tensor, transform: Tensor) -> Tensor:
    """Sample `(b, c, D, H, W)` at `transform` `(b, 3, 4)` of every voxel, trilinearly; borders repeat."""
    size = image.shape[2:]
    there = _apply(transform, block_centres(size, size, image).view(-1, 3))
    return sample_at(image, there.view(len(image), *size, 3))


def _token_size(image: Tensor) -> list[int]:
    stride = max(LEAST_STRIDE, ceil(max(image.shape[2:]) / MAX_TOKENS))
    return [max(1, round(n / stride)) for n in image.shape[2:]]


def _tokens(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens' positions `(n, 3)`, voxels from the centre, and their distances `(3,)`."""
    size, tokens = image.shape[2:], _token_size(image)
    stride = image.new_tensor([n / m for n, m in zip(size, tokens, strict=True)])
    return block_centres(size, tokens, image).view(-1, 3), stride


def _answers(scores: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Average the positions within a token of the attention's peak, `(b, n, 3)`; weigh each by its squared share."""
    attention = scores.softmax(dim=2)
    peak = points[attention.argmax(dim=2)]
    near = attention * ((peak[:, :, None] - points).abs().amax(dim=3) < 1.5)
    share = near.sum(dim=2)
    return near @ points / share[:, :, None], share**2


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
