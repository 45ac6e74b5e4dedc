"""Term `betti`: of each structure the pieces, tunnels and cavities of its anatomy, by persistent homology."""

from collections.abc import Mapping, Sequence

import gudhi
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodalnet.metrics.topology import BettiNumbers
from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.config import AdaptationSettings
from crossmodalnet.training.adaptation.term import (
    BothDomains,
    Maps,
    Place,
    Term,
    TermValue,
    coarse_posteriors,
)

# Features that persist no longer are noise of a smooth map: thousands of them, without a say.
MIN_PERSISTENCE = 0.01

# LV RV LA RA Myo AO PA. Each is one solid piece; the myocardium is a cup, open at the base, so without a cavity.
# So they are in label maps of the phantom at 2.5 mm (5 CT, 5 MR: all seven structures in all of them). At 7 mm,
# resampled to the nearest voxel, the wall of the LV is about one voxel thick and has up to 6 holes, in 8 of 10
# maps, and the PA falls in two in one of 10: on such grids the prior asks for more than the labels hold.
STRUCTURE_PRIORS: tuple[BettiNumbers, ...] = ((1, 0, 0),) * 7


class BettiTerm(Term):
    """The Betti numbers of the target's structures, on the grid of the decoder level."""

    name = "betti"
    places = ("output",)

    def __init__(self, network: LayeredNetwork, settings: AdaptationSettings, num_classes: int) -> None:
        super().__init__(network, settings, num_classes)
        self.every = settings.betti_every

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> TermValue:
        """Compare the target's maps with `STRUCTURE_PRIORS`; the mean over its samples."""
        (logits,) = views["output"]
        probabilities = coarse_posteriors(logits[domains.num_source :], domains.size)
        return TermValue(torch.stack([betti_loss(one[1:], STRUCTURE_PRIORS) for one in probabilities]).mean())


def betti_loss(probabilities: Tensor, priors: Sequence[BettiNumbers]) -> Tensor:
    """Compare the persistence of each map's pieces, tunnels and cavities with a prior (Clough et al. 2020, Eq. 4).

    As the threshold falls from 1 to 0, features of the voxels above it are born and die; the persistence of one
    is the difference of both thresholds, and the first piece never dies: its persistence is the largest
    probability. Sum of `1 - persistence^2` over the prior's number of most persistent features of each
    dimension (one that is missing counts 1) and of `persistence^2` over the others, averaged over the maps.
    Voxels are closed cubes, as in `metrics.topology`. Differentiable through the voxels where features are
    born and die; on the CPU.

    Args:
        probabilities: one map per structure, `(k, d, h, w)`, 0 to 1; each axis at least 1.
        priors: pieces, tunnels and cavities of each map; (0, 0, 0) where there must be nothing.

    Returns:
        Scalar, at least 0; 0 for crisp maps of the right topology and where there is no map.

    Raises:
        ValueError: not four axes, or not one prior per map.
    """
    if probabilities.ndim != 4:
        raise ValueError(f"probabilities must have four axes, got shape {tuple(probabilities.shape)}")
    if len(priors) != len(probabilities):
        raise ValueError(f"priors must be one per map, got {len(priors)} for {len(probabilities)}")
    if not len(priors):
        return probabilities.sum()
    maps = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32))
    return torch.stack([_map_loss(p, prior) for p, prior in zip(maps, priors, strict=True)]).mean()


def _map_loss(probability: Tensor, prior: BettiNumbers) -> Tensor:
    boxed = probability[_box(probability.detach())]
    values = boxed.permute(2, 1, 0).reshape(-1)  # gudhi counts in Fortran's order
    loss = values.new_zeros(())
    for wanted, (births, deaths) in zip(prior, _critical_voxels(boxed), strict=True):
        born = torch.as_tensor(births, device=values.device)
        died = torch.as_tensor(deaths, device=values.device)
        end = torch.cat([values[died], values.new_zeros(len(born) - len(died))])
        persistence = (values[born] - end).sort(descending=True, stable=True).values
        missing = max(wanted - len(persistence), 0)
        loss = (
            loss + (1 - persistence[:wanted].square()).sum() + persistence[wanted:].square().sum() + missing
        )
    return loss


def _box(probability: Tensor) -> tuple[slice, ...]:
    """Bounding box of what is probable enough to matter; everything where nothing is.

    Every set above a higher threshold lies inside, so no persistence changes by more than `MIN_PERSISTENCE`.
    """
    probable = probability > MIN_PERSISTENCE
    if not probable.any():
        return (slice(None),) * 3
    spans = (torch.nonzero(probable.any(a).any(b)).flatten() for a, b in ((2, 1), (2, 0), (1, 0)))
    return tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)


def _critical_voxels(probability: Tensor) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Find where features of dimension 0, 1 and 2 are born and die, flat indices in Fortran's order.

    Those that never die come last, so there may be more births than deaths.
    """
    # Sublevel sets of the negative are superlevel sets; in double precision so that no two values become one.
    levels = -probability.detach().cpu().double().numpy()
    cubes = gudhi.CubicalComplex(top_dimensional_cells=levels)
    cubes.compute_persistence(min_persistence=MIN_PERSISTENCE)
    pairs, essential = cubes.cofaces_of_persistence_pairs()
    none = np.empty(0, np.int64)
    voxels = []
    for dimension in range(3):
        finite = pairs[dimension] if dimension < len(pairs) else np.empty((0, 2), np.int64)
        endless = essential[dimension] if dimension < len(essential) else none
        births = np.concatenate([finite[:, 0], endless]).astype(np.int64)
        voxels.append((births, finite[:, 1].astype(np.int64)))
    return voxels
