"""Preserve the connectivity of source features by 0-dimensional persistence: term `topology` (Moor et al. 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.networks.common.parameters import EMA
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term, decoder_features, rows

# EMA decay of the teacher, whose spanning trees are preserved.
TEACHER_DECAY = 0.95
# Most voxels of each class in the spanning trees, whose cost is quadratic.
VOXELS_PER_CLASS = 16


class TopologyTerm(Term):
    """Distance of the source features' spanning trees to those of an EMA teacher."""

    name = "topology"
    places = ("decoder",)
    every = 4

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__(network, config, num_classes)
        self.teacher = EMA(network)

    def before(self, source: Tensor) -> Tensor:
        """Compute the teacher's features of the source, `(s, c, d, h, w)`."""
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
        """Update the teacher."""
        self.teacher.follow(network, TEACHER_DECAY)


def _few(classes: Tensor) -> Tensor:
    """Return the positions of the first few voxels of each class; `classes` must be ascending."""
    first = torch.searchsorted(classes, classes)
    rank = torch.arange(len(classes), device=classes.device) - first
    return (rank < VOXELS_PER_CLASS).nonzero()[:, 0]


def spanning_tree_edges(distances: Tensor) -> Tensor:
    """Find the minimum spanning tree of `(n, n)` finite distances (Prim): pairs of points `(n - 1, 2)`, int64.

    Its edges are all 0-dimensional persistence pairs of the Vietoris-Rips filtration. Among equal distances the lowest
    index wins. It runs on the CPU, since it takes many tiny steps.
    """
    n = len(distances)
    if n < 2:
        return torch.empty(0, 2, dtype=torch.int64, device=distances.device)
    remaining = distances.detach().cpu().clone()
    remaining[:, 0] = torch.inf  # a column of infinities marks a point in the tree
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
    """Compare the spanning-tree edges of `(n, c)` and a detached reference `(n, c')` (Moor et al. 2020, Eq. 3 and 4).

    Unlike there, lengths are relative to the points' root mean square distance from their centroid, and squared
    differences are averaged over the edges. The gradient neither inflates nor shrinks the features.
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
