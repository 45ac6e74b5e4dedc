"""Term `topology`: what is connected to what stays so, by 0-dimensional persistence (Moor et al. 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.networks.common.parameters import RunningMean
from crossmodalnet.training.adaptation.config import AdaptationSettings
from crossmodalnet.training.adaptation.term import (
    BothDomains,
    Maps,
    Place,
    Term,
    TermValue,
    decoder_features,
    rows,
)


class TopologyTerm(Term):
    """The spanning trees of source features, which stay those of a slowly moving copy of the network."""

    name = "topology"
    places = ("decoder",)

    def __init__(self, network: LayeredNetwork, settings: AdaptationSettings, num_classes: int) -> None:
        super().__init__(network, settings, num_classes)
        self.every = settings.topology_every
        self.teacher = RunningMean(network)

    def before(self, source: Tensor) -> Tensor:
        """Give the teacher's features of the source, `(s, c, d, h, w)`."""
        teacher = self.teacher.module
        assert isinstance(teacher, LayeredNetwork)
        return decoder_features(teacher, source, self.settings.decoder_level)

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> TermValue:
        """Compare the trees of some drawn voxels in both networks' features."""
        reference = rows(domains.before[self.name])
        drawn = domains.drawn.source[self._few(domains.drawn.source_classes)]
        now = torch.cat([rows(maps[: domains.num_source])[drawn] for maps in views["decoder"]], 1)
        return TermValue(topology_loss(now, reference[drawn]))

    def after_step(self, network: LayeredNetwork) -> None:
        """Let the teacher follow."""
        self.teacher.follow(network, self.settings.teacher_decay)

    def _few(self, classes: Tensor) -> Tensor:
        """The first few of voxels ordered by class, from each class: trees take the square of their number."""
        first = torch.searchsorted(classes, classes)
        rank = torch.arange(len(classes), device=classes.device) - first
        return (rank < self.settings.tree_voxels_per_class).nonzero()[:, 0]


def spanning_tree_edges(distances: Tensor) -> Tensor:
    """Find the minimum spanning tree of the complete graph, exactly (Prim).

    Its edges are where components of the Vietoris-Rips filtration merge: all 0-dimensional persistence pairs.
    Among equal distances the lowest index wins. On the CPU, wherever the distances are: 200 points would be
    thousands of tiny kernels. Of distances that are not finite, the tree means nothing.

    Args:
        distances: `(n, n)`, symmetric.

    Returns:
        Pairs of points `(n - 1, 2)`, int64, on the device of `distances`, in the order in which they join the
        tree of point 0; none for fewer than two points.

    Raises:
        ValueError: not a square matrix.
    """
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise ValueError(f"distances must be a square matrix, got shape {tuple(distances.shape)}")
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

    Differs in scale and mean: lengths are over the root mean square distance of the points from their
    centroid, and the squared differences are averaged over the edges of both trees. So the loss does not
    change where a space is scaled, and as the scale is not detached, its gradient neither blows up
    nor shrinks the features. The length of an edge between points that coincide has gradient 0.

    Args:
        features: `(n, c)`.
        reference: `(n, c')`, the same points in another space; detached.

    Returns:
        Scalar, at least 0; 0 for spaces that are equal up to rotation and scale, and for fewer than two points.

    Raises:
        ValueError: another number of points.
    """
    if len(features) != len(reference):
        raise ValueError(
            f"features and reference must have as many rows, got {len(features)}, {len(reference)}"
        )
    if len(features) < 2:
        return features[:0].sum()
    with torch.autocast(features.device.type, enabled=False):
        spaces = [_normalised(features), _normalised(reference.detach())]
        edges = torch.cat([spanning_tree_edges(torch.cdist(x.detach(), x.detach())) for x in spaces])
        lengths = [torch.linalg.vector_norm(x[edges[:, 0]] - x[edges[:, 1]], dim=1) for x in spaces]
    loss: Tensor = (lengths[0] - lengths[1]).square().mean()
    return loss


def _normalised(x: Tensor) -> Tensor:
    """Centre `(n, c)` and scale it to root mean square length 1, in single precision at least."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    centred = x - x.mean(0)
    scale = torch.linalg.vector_norm(centred) / len(x) ** 0.5
    normalised: Tensor = centred / scale.clamp_min(torch.finfo(x.dtype).tiny)
    return normalised
