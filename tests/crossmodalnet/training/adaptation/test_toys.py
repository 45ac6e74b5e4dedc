"""JADA's parts on problems with a known target, where class shares shift between domains; means of three seeds."""

import copy
from functools import cache
from statistics import mean

import pytest
import torch
from torch import nn
from torch.nn import functional

from crossmodalnet.training.adaptation.adapter import ganin_ramp
from crossmodalnet.training.adaptation.conditional import conditional_map, entropy_weights
from crossmodalnet.training.adaptation.discriminators import VectorDiscriminator, domain_loss
from crossmodalnet.training.adaptation.term import draw_balanced
from crossmodalnet.training.adaptation.topology import topology_loss

NUM_POINTS, BATCH, STEPS = 2000, 192, 400
PARTS = {"marginal": ("marginal",), "JADA": ("marginal", "conditional", "topology")}


def two_gaussians(classes, noise, target):
    """Two classes side by side; the target is 1.2 times as large and shifted by (1.5, 2.5)."""
    points = 0.5 * noise
    points[:, 0] += 3.0 * classes - 1.5
    return 1.2 * points + torch.tensor([1.5, 2.5]) if target else points


def rotated_clusters(classes, noise, target):
    """Four clusters around the origin; the target is rotated by 40 of the 90 degrees between two of them."""
    angles = torch.deg2rad(90.0 * classes + (40.0 if target else 0.0))
    return 2 * torch.stack([angles.cos(), angles.sin()], dim=1) + 0.25 * noise


# Class shares of the target.
TOYS = {two_gaussians: [0.85, 0.15], rotated_clusters: [0.85, 0.05, 0.05, 0.05]}


def draw(toy, shares, target, seed):
    """Draw points (n, 2) and their classes (n,)."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.multinomial(torch.tensor(shares), NUM_POINTS, replacement=True, generator=generator)
    return toy(classes, torch.randn(NUM_POINTS, 2, generator=generator), target), classes


class Learner(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.extractor = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.classifier = nn.Linear(32, num_classes)
        self.marginal = VectorDiscriminator(32)
        self.conditional = VectorDiscriminator(32 * num_classes)

    def loss(self, teacher, points, labels, parts, ramp, generator):
        """Sum the supervised loss and the parts' terms; source points come first."""
        features = self.extractor(points)
        logits = self.classifier(features)
        loss = functional.cross_entropy(logits[:BATCH], labels)
        if not parts:
            return loss
        posteriors = logits.detach().softmax(1)
        source = draw_balanced(labels, 32, self.num_classes, generator)
        target = draw_balanced(posteriors[BATCH:].argmax(1), 32, self.num_classes, generator) + BATCH
        drawn, cut = torch.cat([source, target]), len(source)
        rows, middle = (features[drawn], cut) if "conditional" in parts else (features, BATCH)
        judged = self.marginal(reversed_gradient(rows, ramp))
        loss = loss + domain_loss(judged[:middle], judged[middle:])
        if "conditional" in parts:
            certain = posteriors[drawn]
            judged = self.conditional(conditional_map(reversed_gradient(features[drawn], ramp), certain))
            weights = entropy_weights(certain[:cut]), entropy_weights(certain[cut:])
            loss = loss + domain_loss(judged[:cut], judged[cut:], *weights)
        if "topology" in parts:
            few = draw_balanced(labels, 8, self.num_classes, generator)
            loss = loss + ramp * topology_loss(features[few], teacher(points[few]).detach())
        return loss


def reversed_gradient(x, weight):
    """Equal `x`, with a gradient of -weight."""
    return -weight * x + ((1 + weight) * x).detach()


def train(source, target, variant, num_classes, seed):
    """Train without the target's classes, unless the variant is the one that has them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        learner = Learner(num_classes)
    teacher = copy.deepcopy(learner.extractor)
    optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3, fused=True)
    generator = torch.Generator().manual_seed(seed)
    labelled = target if variant == "target labels" else source
    for step in range(STEPS):
        s, t = (torch.randint(NUM_POINTS, (BATCH,), generator=generator) for _ in "st")
        points = torch.cat([labelled[0][s], target[0][t]])
        ramp = ganin_ramp(step / STEPS)
        optimizer.zero_grad()
        learner.loss(teacher, points, labelled[1][s], PARTS.get(variant, ()), ramp, generator).backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), learner.extractor.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
    return learner


@cache
def accuracy(toy, variant, shifted=True):
    """Balanced accuracy on unseen points of the target, mean of three seeds."""
    shares = TOYS[toy]
    equal, found = [1 / len(shares)] * len(shares), []
    for seed in range(3):
        source, target = (draw(toy, equal, False, seed), draw(toy, shares if shifted else equal, True, 100 + seed))
        points, classes = draw(toy, equal, True, 200 + seed)
        learner = train(source, target, variant, len(shares), seed)
        with torch.no_grad():
            right = (learner.classifier(learner.extractor(points)).argmax(1) == classes).float()
        found.append(mean(right[classes == k].mean().item() for k in classes.unique()))
    return mean(found)


def recovered(toy, variant, shifted=True):
    """Share of what the target's labels would gain over the source alone."""
    start = accuracy(toy, "source only")
    return (accuracy(toy, variant, shifted) - start) / (accuracy(toy, "target labels") - start)


@pytest.mark.slow
@pytest.mark.parametrize("toy", TOYS)
def test_jada_recovers_most_of_the_gap_under_label_shift(toy):
    assert accuracy(toy, "source only") < 0.85
    assert accuracy(toy, "target labels") > 0.98
    assert recovered(toy, "JADA") >= 0.8


@pytest.mark.stress
@pytest.mark.parametrize("toy", TOYS)
def test_marginal_alignment_fails_where_class_shares_shift(toy):
    assert recovered(toy, "marginal", shifted=False) >= 0.8
    assert recovered(toy, "marginal") < 0.8
