"""A training loop of JADA's own pieces on a toy problem."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.training.adaptation.adapter import ganin_ramp, reverse_gradient
from crossmodalnet.training.adaptation.conditional import ConditionalMap, entropy_weights
from crossmodalnet.training.adaptation.discriminators import VectorDiscriminator, domain_loss
from crossmodalnet.training.adaptation.term import draw_balanced
from crossmodalnet.training.adaptation.topology import topology_loss
from tests.crossmodalnet.training.adaptation.toys import NUM_POINTS, Domain

NUM_FEATURES = 32
STEPS = 400
BATCH = 192  # of each domain
PER_CLASS = 32
TREE_PER_CLASS = 8
LEARNING_RATE = 2e-3
TEACHER_DECAY = 0.99


@dataclass(frozen=True)
class Variant:
    """What is trained with, beside the classifier's loss; rows are drawn with equal classes where `balanced`."""

    marginal: bool = False
    conditional: bool = False
    topology: bool = False
    balanced: bool = False
    target_labels: bool = False

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the network's objectives."""
        extra = ("marginal", "conditional", "topology")
        return ("supervised", *(name for name in extra if getattr(self, name)))


VARIANTS = {
    "source only": Variant(),
    "marginal": Variant(marginal=True),
    "JADA": Variant(marginal=True, conditional=True, topology=True, balanced=True),
    "JADA, uniform marginal": Variant(marginal=True, conditional=True, topology=True),
    "target labels": Variant(target_labels=True),
}


class Weighing(Protocol):
    """How much each of the network's objectives counts; its discriminators always learn at full strength."""

    swapped: bool
    """What to have of an adversary: its loss with swapped domains as low, or else its own loss as high as can be."""

    def weight(self, objective: str, progress: float) -> float:
        """Give the weight of an objective, where `progress` (0 to 1) of the training is done."""

    def update(self, values: dict[str, float]) -> None:
        """Take note of the values of all objectives at the step that was made, each to be minimised."""


class Ramp:
    """What JADA does: the labels count 1, every other objective enters by the ramp."""

    swapped = False

    def weight(self, objective: str, progress: float) -> float:
        return 1.0 if objective == "supervised" else ganin_ramp(progress)

    def update(self, values: dict[str, float]) -> None:
        """Nothing depends on them."""


class Learner(nn.Module):
    """Extractor `(n, 2)` to `(n, NUM_FEATURES)`, classifier, and the discriminators of their features."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        layers = [nn.Linear(2, NUM_FEATURES), nn.ReLU(), nn.Linear(NUM_FEATURES, NUM_FEATURES), nn.ReLU()]
        self.extractor = nn.Sequential(*layers)
        self.classifier = nn.Linear(NUM_FEATURES, num_classes)
        self.map = ConditionalMap(NUM_FEATURES, num_classes)
        self.marginal = VectorDiscriminator(NUM_FEATURES)
        self.conditional = VectorDiscriminator(self.map.out_dim)

    def forward(self, points: Tensor) -> Tensor:
        """Give logits `(n, num_classes)`."""
        return self.classifier(self.extractor(points))


def train(
    source: Domain,
    target: Domain,
    variant: Variant,
    num_classes: int,
    seed: int,
    steps: int = STEPS,
    weighing: Weighing | None = None,
) -> Learner:
    """Train without the target's classes, unless the variant is the one that has them; the last weights count."""
    weighing = weighing or Ramp()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        learner = Learner(num_classes)
    teacher = copy.deepcopy(learner.extractor)
    optimizer = torch.optim.Adam(learner.parameters(), lr=LEARNING_RATE, fused=True)
    generator = torch.Generator().manual_seed(seed)
    labelled = target if variant.target_labels else source
    for step in range(steps):
        s, t = (torch.randint(NUM_POINTS, (BATCH,), generator=generator) for _ in "st")
        points, labels = torch.cat([labelled.points[s], target.points[t]]), labelled.classes[s]
        weights = {name: weighing.weight(name, step / steps) for name in variant.objectives}
        loss, values = _loss(learner, teacher, points, labels, variant, weights, weighing.swapped, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weighing.update(values)
        if variant.topology:
            with torch.no_grad():
                for slow, fast in zip(teacher.parameters(), learner.extractor.parameters(), strict=True):
                    slow.lerp_(fast, 1 - TEACHER_DECAY)
    return learner


def _loss(
    learner: Learner,
    teacher: nn.Module,
    points: Tensor,
    labels: Tensor,
    variant: Variant,
    weights: dict[str, float],
    swapped: bool,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Give the sum to minimise, and the values of the network's objectives."""
    features = learner.extractor(points if variant.marginal else points[:BATCH])
    logits = learner.classifier(features)
    supervised = functional.cross_entropy(logits[:BATCH], labels)
    loss, values = weights["supervised"] * supervised, {"supervised": supervised.item()}
    if not variant.marginal:
        return loss, values
    posteriors = logits.detach().softmax(1)
    k = learner.num_classes
    s = draw_balanced(labels, PER_CLASS, k, generator)
    t = draw_balanced(posteriors[BATCH:].argmax(1), PER_CLASS, k, generator) + BATCH
    drawn, cut = torch.cat([s, t]), len(s)
    rows, middle = (features[drawn], cut) if variant.balanced else (features, BATCH)
    terms = {"marginal": _adversarial(learner.marginal, rows, middle, weights["marginal"], swapped)}
    if variant.conditional:
        certain = posteriors[drawn]
        of_rows = entropy_weights(certain[:cut]), entropy_weights(certain[cut:])
        terms["conditional"] = _adversarial(
            lambda x: learner.conditional(learner.map(x, certain)),
            features[drawn],
            cut,
            weights["conditional"],
            swapped,
            of_rows,
        )
    if variant.topology:
        few = draw_balanced(labels, TREE_PER_CLASS, k, generator)
        with torch.no_grad():
            reference = teacher(points[few])
        topology = topology_loss(features[few], reference)
        terms["topology"] = weights["topology"] * topology, topology.item()
    values.update({name: value for name, (_, value) in terms.items()})
    return loss + torch.stack([term for term, _ in terms.values()]).sum(), values


def _adversarial(
    judge: Callable[[Tensor], Tensor],
    rows: Tensor,
    cut: int,
    weight: float,
    swapped: bool,
    of_rows: tuple[Tensor, Tensor] | tuple[None, None] = (None, None),
) -> tuple[Tensor, float]:
    """Give what trains the judge in full and the network by `weight`, and the value of the network's objective."""
    if not swapped:
        judged = judge(reverse_gradient(rows, weight))
        loss = domain_loss(judged[:cut], judged[cut:], *of_rows)
        return loss, -loss.item()
    seen = rows.detach().requires_grad_()
    judged = judge(seen)
    loss = domain_loss(judged[:cut], judged[cut:], *of_rows)
    deceived = domain_loss(judged[cut:], judged[:cut], of_rows[1], of_rows[0])
    # The gradient of the rows alone: the judge must not learn to be deceived.
    (slope,) = torch.autograd.grad(deceived, seen, retain_graph=True)
    return loss + weight * (slope * rows).sum(), deceived.item()


@torch.no_grad()
def balanced_accuracy(learner: Learner, domain: Domain) -> float:
    """Mean over the classes of the share of their points that are right."""
    right = (learner(domain.points).argmax(1) == domain.classes).float()
    return torch.stack([right[domain.classes == k].mean() for k in domain.classes.unique()]).mean().item()
