"""Term `topology`: connectivity of source features is preserved, by 0-dimensional persistence (Moor et al. 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.networks.common.parameters import EMA
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term, decoder_features, rows

# EMA decay of the teacher, a slowly moving copy of the network whose spanning trees are kept.
TEACHER_DECAY = 0.95
# Voxels of each class in the spanning trees, at most: trees take the square of their number.
VOXELS_PER_CLASS = 16


class TopologyTerm(Term):
    """The spanning trees of source features, which stay those of the teacher."""

    name = "topology"
    places = ("decoder",)
    every = 4

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__(network, config, num_classes)
        self.teacher = EMA(network)

    def before(self, source: Tensor) -> Tensor:
        """Give the teacher's features of the source, `(s, c, d, h, w)`."""
        teacher = self.teacher.module
        assert isinstance(teacher, LayeredNetwork)
        return decoder_features(teacher, source)

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compare the trees of some drawn voxels in both networks' features."""
        reference = rows(domains.before[self.name])
        drawn = domains.drawn.source[_few(domains.drawn.source_classes)]
        now = torch.cat([rows(maps[: domains.num_source])[drawn] for maps in views["decoder"]], 1)
        return topology_loss(now, reference[drawn]), ()

    def after_step(self, network: LayeredNetwork) -> None:
        """Let the teacher follow."""
        self.teacher.follow(network, TEACHER_DECAY)


def _few(classes: Tensor) -> Tensor:
    """Give the positions of the first few voxels of each class; `classes` ascend."""
    first = torch.searchsorted(classes, classes)
    rank = torch.arange(len(classes), device=classes.device) - first
    return (rank < VOXELS_PER_CLASS).nonzero()[:, 0]


def spanning_tree_edges(distances: Tensor) -> Tensor:
    """Find the minimum spanning tree of the complete graph (Prim).

    Its edges are where components of the Vietoris-Rips filtration merge: all 0-dimensional persistence pairs.
    Among equal distances the lowest index wins. It runs on the CPU, since it takes many tiny steps.

    Args:
        distances: `(n, n)`, symmetric and finite.

    Returns:
        Pairs of points `(n - 1, 2)`, int64, on the device of `distances`, in the order in which they join the
        tree of point 0; none for fewer than two points.
    """
    n = len(distances)
    if n < 2:
        return torch.empty(0, 2, dtype=torch.int64, device=distances.device)
    remaining = distances.detach().cpu().clone()
    remaining[:, 0] = torch.inf  # a column of infinities is a point that the tree has
    nearest, parent = remaining[0].clone(), torch.zeros(n, dtype=torch.int64)
    joined = []
    for _ in range(n - 1):
        point = int(nearest.argmin())
        joined.append(point)
        remaining[:, point] = torch.inf
        nearest[point] = torch.inf
        row = remaining[point]
        parent.masked_fill_(row < nearest, point)
        torch.minimum(nearest, row, out=nearest)
    points = torch.tensor(joined)
    return torch.stack([parent[points], points], dim=1).to(distances.device)


def topology_loss(features: Tensor, reference: Tensor) -> Tensor:
    """Compare the lengths of both spaces' spanning-tree edges in both spaces (Moor et al. 2020, Eq. 3 and 4).

    Differs in scale and mean: lengths are relative to the root mean square distance of the points from their
    centroid, so that the loss is free of scale, and squared differences are averaged over the edges of both trees.
    The scale is not detached: the gradient neither inflates nor shrinks the features.

    Args:
        features: `(n, c)`.
        reference: `(n, c')`, the same points in another space; detached.

    Returns:
        Scalar, at least 0; 0 for spaces that are equal up to rotation and scale, and for fewer than two points.
    """
    if len(features) < 2:
        return features[:0].sum()
    with torch.autocast(features.device.type, enabled=False):
        spaces = [_normalised(features), _normalised(reference.detach())]
        edges = torch.cat([spanning_tree_edges(torch.cdist(x.detach(), x.detach())) for x in spaces])
        lengths = [torch.linalg.vector_norm(x[edges[:, 0]] - x[edges[:, 1]], dim=1) for x in spaces]
    return (lengths[0] - lengths[1]).square().mean()


def _normalised(x: Tensor) -> Tensor:
    """Centre `(n, c)` and scale it to root mean square length 1, in single precision at least."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    centred = x - x.mean(0)
    scale = torch.linalg.vector_norm(centred) / len(x) ** 0.5
    return centred / scale.clamp_min(torch.finfo(x.dtype).tiny)
