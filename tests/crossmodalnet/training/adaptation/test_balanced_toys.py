"""What Eq. 23 does to an adversary: one of adversary and labels is switched off, but for small sharpness alone.

An adversary can be read in two ways as an objective to be minimised. The loss with swapped domains is large where
the discriminator is right, so its weight is small just where it is needed. Minus the discriminator's loss is
negative, so it weighs more than the labels do, all the more where they have taught little.
"""

from dataclasses import dataclass
from functools import cache
from statistics import mean

import pytest

from crossmodalnet.training.balancing import AdaptiveBalancer, Balancing
from tests.crossmodalnet.training.adaptation.toy_training import VARIANTS, balanced_accuracy, train
from tests.crossmodalnet.training.adaptation.toys import TOYS

SEEDS = range(2)
STEPS = 300
JADA = VARIANTS["JADA"]


class Balanced:
    """All of the network's objectives weighed by Eq. 23, without ramp or strengths."""

    def __init__(self, swapped: bool, mode: Balancing, alpha: float) -> None:
        self.swapped = swapped
        self.balancer = AdaptiveBalancer(JADA.objectives, mode, alpha)
        self.history: list[dict[str, float]] = []

    def weight(self, objective: str, progress: float) -> float:
        return self._weights()[objective]

    def update(self, values: dict[str, float]) -> None:
        self.history.append(self._weights())
        self.balancer.update([values[name] for name in self.balancer.names])

    def _weights(self) -> dict[str, float]:
        return dict(zip(self.balancer.names, self.balancer.weights, strict=True))


@dataclass
class Found:
    """Over the seeds: mean share of the gap that is recovered, and weights of the second half of training."""

    recovered: float
    weights: dict[str, float]

    @property
    def adversaries_over_labels(self) -> float:
        return (self.weights["marginal"] + self.weights["conditional"]) / 2 / self.weights["supervised"]


@cache
def limits(toy: str) -> tuple[float, float]:
    """Give the balanced accuracy of the source alone and of the target's labels, means over the seeds."""
    low, high = (
        mean(accuracy(toy, variant, seed, None) for seed in SEEDS)
        for variant in ("source only", "target labels")
    )
    return low, high


def accuracy(toy: str, variant: str, seed: int, weighing: Balanced | None) -> float:
    source, target, test = TOYS[toy].domains(shifted=True, seed=seed)
    learner = train(source, target, VARIANTS[variant], len(TOYS[toy].shifted), seed, STEPS, weighing)
    return balanced_accuracy(learner, test)


def balanced(toy: str, swapped: bool, mode: Balancing, alpha: float) -> Found:
    low, high = limits(toy)
    ways = [Balanced(swapped, mode, alpha) for _ in SEEDS]
    reached = mean(accuracy(toy, "JADA", seed, way) for seed, way in zip(SEEDS, ways, strict=True))
    late = [step for way in ways for step in way.history[len(way.history) // 2 :]]
    return Found(
        (reached - low) / (high - low), {name: mean(step[name] for step in late) for name in JADA.objectives}
    )


@pytest.mark.stress
def test_the_default_sharpness_weakens_adversaries_and_a_large_one_switches_them_off() -> None:
    default, sharp = (balanced("two Gaussians", True, "paper", alpha) for alpha in (0.5, 8.0))
    assert 0.5 < default.adversaries_over_labels < 0.9
    assert default.recovered >= 0.8
    assert sharp.adversaries_over_labels < 0.01
    assert sharp.recovered < 0.4


@pytest.mark.stress
def test_minus_the_discriminators_loss_switches_the_labels_off_instead() -> None:
    sharp = balanced("rotated clusters", False, "paper", 4.0)
    assert sharp.adversaries_over_labels > 100
    assert sharp.recovered < 0
