"""Two problems in the plane where labels shift between domains.

In both, one network can be right in both domains: they overlap little. Where the same point has another class in
the other domain, no alignment of one network's features can reach what the target's labels teach.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

NUM_POINTS = 2000


@dataclass(frozen=True)
class Domain:
    """Points `(n, 2)` and their classes `(n,)`."""

    points: Tensor
    classes: Tensor


@dataclass(frozen=True)
class Toy:
    """How points are drawn `(shares of the classes, whether of the target, seed)`, and the target's other shares."""

    draw: Callable[[list[float], bool, int], Domain]
    shifted: list[float]

    def shares(self, shifted: bool) -> list[float]:
        return self.shifted if shifted else [1 / len(self.shifted)] * len(self.shifted)

    def domains(self, shifted: bool, seed: int) -> tuple[Domain, Domain, Domain]:
        """Give the source, the target to train on, and other points of the target to test with."""
        equal = self.shares(False)
        return (
            self.draw(equal, False, seed),
            self.draw(self.shares(shifted), True, 100 + seed),
            self.draw(equal, True, 200 + seed),
        )


def two_gaussians(shares: list[float], target: bool, seed: int) -> Domain:
    """Two classes side by side; the target is 1.2 times as large and shifted by (1.5, 2.5)."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.multinomial(torch.tensor(shares), NUM_POINTS, replacement=True, generator=generator)
    points = 0.5 * torch.randn(NUM_POINTS, 2, generator=generator)
    points[:, 0] += 3.0 * classes - 1.5
    return Domain(1.2 * points + torch.tensor([1.5, 2.5]) if target else points, classes)


def rotated_clusters(shares: list[float], target: bool, seed: int) -> Domain:
    """Four clusters around the origin; the target is turned by 40 of the 90 degrees between two of them."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.multinomial(torch.tensor(shares), NUM_POINTS, replacement=True, generator=generator)
    angles = torch.deg2rad(90.0 * classes + (40.0 if target else 0.0))
    centres = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)
    return Domain(centres + 0.25 * torch.randn(NUM_POINTS, 2, generator=generator), classes)


TOYS = {
    "two Gaussians": Toy(two_gaussians, [0.85, 0.15]),
    "rotated clusters": Toy(rotated_clusters, [0.85, 0.05, 0.05, 0.05]),
}
