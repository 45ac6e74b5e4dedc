"""Definition 5: Rademacher complexity of the last layer, the bound it gives, and the gap that was measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject, capture_inputs

# Voxels of a case that its loss is the mean over; more would change nothing but the time.
MOST_VOXELS = 10_000
CONFIDENCE = 0.95
# Of the ramp loss: 1 where another class wins, 0 where the true one is ahead by a logit, linear between.
MARGIN = 1.0
STANDARD_ERRORS = 4.0


@dataclass(frozen=True)
class Sample:
    """What the last layer sees of some cases.

    Attributes:
        features: (n, v, p), with a constant 1 for the bias.
        labels: (n, v).
    """

    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Complexity:
    """Monte Carlo estimate of `E_sigma ||sum sigma phi||`, and its bounds.

    Attributes:
        mean: mean of the draws.
        error: standard error of the mean.
        largest: upper bound by Jensen, `sqrt(C sum ||phi||^2)`.
        smallest: lower bound by Khintchine with the best constant (Szarek 1976), `largest / sqrt(2)`.
    """

    mean: float
    error: float
    largest: float
    smallest: float


def check(subject: AuditSubject, settings: AuditSettings) -> CheckOutcome:
    """Estimate the complexity of the trained network's last layer on the training pairs."""
    network = subject.network
    if not isinstance(network, CrossModalNet):
        return CheckOutcome([not_applicable("definition_5", "Only CrossModalNet's last layer is examined.")])
    layer = network.head.classify
    weights = torch.cat([layer.weight.flatten(1), _bias(layer)[:, None]], dim=1).detach()  # (C, p + 1)
    train = take_sample(network, subject, subject.training, settings.seed)
    test = take_sample(network, subject, subject.test, settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    complexity = estimate(train.features, len(weights), settings.rademacher_draws, generator)
    n, voxels, _ = train.features.shape
    rademacher = class_complexity(float(weights.norm()), complexity.mean, n, voxels)
    bound = gap_bound(rademacher, n)
    gap = error_rate(test, weights) - ramp_loss(train, weights)
    relative_error = complexity.error / complexity.mean
    rows: list[Row] = [
        {"term": term, "value": value}
        for term, value in (("complexity", rademacher), ("bound", bound), ("gap", gap))
    ]
    return CheckOutcome(
        [judge(complexity, rademacher, relative_error, bound, gap, n)], {"generalisation": rows}
    )


def take_sample(
    network: CrossModalNet, subject: AuditSubject, cases: Sequence[LabelledCase], seed: int
) -> Sample:
    """Collect the inputs of the last layer at random voxels, the same for every case."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(cases[0].label.numel(), generator=generator)[:MOST_VOXELS]
    features, labels = [], []
    for case in cases:
        caught = capture_inputs(network, subject.images([case]), nn.Conv3d).values()
        inputs = next(arguments[0] for module, arguments in caught if module is network.head.classify)
        chosen = inputs[0].flatten(1)[:, places.to(subject.device)].T.cpu()  # (v, p)
        features.append(torch.cat([chosen, torch.ones(len(chosen), 1)], dim=1))
        labels.append(case.label.flatten()[places].long())
    return Sample(torch.stack(features), torch.stack(labels))


def estimate(features: Tensor, num_classes: int, draws: int, generator: torch.Generator) -> Complexity:
    """Draw random signs for every case, voxel and class and take the norm of the signed sum of features.

    For the layers `phi -> W phi` with `||W||_F <= B` the supremum of Definition 5 is in closed form
    `B ||sum sigma phi||_F`, by Cauchy and Schwarz.

    Args:
        features: (n, v, p).
        num_classes: C, outputs of the layer.
        draws: draws of the signs, at least 2.
        generator: generator of the signs, on the CPU.
    """
    flat = features.flatten(0, 1)
    norms = []
    for _ in range(draws):
        signs = torch.randint(0, 2, (num_classes, len(flat)), generator=generator, dtype=torch.int8)
        norms.append(float(((2 * signs - 1).to(flat.dtype) @ flat).norm()))
    found = torch.tensor(norms, dtype=torch.float64)
    largest = math.sqrt(num_classes * float(flat.double().square().sum()))
    return Complexity(
        float(found.mean()), float(found.std() / math.sqrt(draws)), largest, largest / math.sqrt(2)
    )


def class_complexity(norm: float, signed_sum: float, num_cases: int, num_voxels: int) -> float:
    """Bound the Rademacher complexity of a case's mean ramp loss over layers with `||W||_F <= norm`.

    The mean over v voxels of losses that are sqrt(2) / margin Lipschitz in a voxel's logits is Lipschitz in all
    logits together with that over sqrt(v); contraction for vectors adds sqrt(2) (Maurer 2016). Cases, not voxels,
    are what is drawn independently.

    Args:
        norm: B.
        signed_sum: `E ||sum sigma phi||`.
        num_cases: n.
        num_voxels: v, per case.
    """
    return 2 / MARGIN * norm * signed_sum / (num_cases * math.sqrt(num_voxels))


def gap_bound(rademacher: float, num_cases: int) -> float:
    """Bound expected minus empirical loss with probability `CONFIDENCE`: `2 R + 3 sqrt(ln(2 / delta) / (2 n))`.

    Source: Bartlett and Mendelson 2002, in the form of Mohri et al., Theorem 3.3; losses are in [0, 1].
    """
    return 2 * rademacher + 3 * math.sqrt(math.log(2 / (1 - CONFIDENCE)) / (2 * num_cases))


def margins(sample: Sample, weights: Tensor) -> Tensor:
    """Give by how much the true class is ahead of the best other one, `(n, v)` logits."""
    logits = sample.features @ weights.T.cpu()
    true = logits.gather(2, sample.labels[..., None])
    others = logits.scatter(2, sample.labels[..., None], -torch.inf)
    return true[..., 0] - others.amax(2)


def ramp_loss(sample: Sample, weights: Tensor) -> float:
    """Mean ramp loss; never below the error rate."""
    return float((1 - margins(sample, weights) / MARGIN).clamp(0, 1).mean())


def error_rate(sample: Sample, weights: Tensor) -> float:
    """Share of voxels that get a wrong class."""
    return float((margins(sample, weights) <= 0).float().mean())


def judge(
    complexity: Complexity, rademacher: float, relative_error: float, bound: float, gap: float, num_cases: int
) -> StatementFinding:
    """Give the verdict on Definition 5."""
    numbers = {
        "complexity": rademacher,
        "relative_error": relative_error,
        "bound": bound,
        "measured_gap": gap,
    }
    tolerance = STANDARD_ERRORS * complexity.error
    if not complexity.smallest - tolerance <= complexity.mean <= complexity.largest + tolerance:
        example = (
            f"Estimate {complexity.mean:.4g}, bounds {complexity.smallest:.4g} and {complexity.largest:.4g}."
        )
        why = "The estimate lies outside of what theory allows for any sample: a defect."
        return StatementFinding(
            "definition_5", Verdict.FAILS, why, numbers, "The code, not the paper.", example
        )
    says = "says something" if bound < 1 else "says nothing, since errors are never above 1"
    why = (
        f"The complexity can be estimated ({rademacher:.3g}, to {relative_error:.1%}); the bound that follows for "
        f"{num_cases} training pairs is {bound:.3g} and {says}, while the gap that was measured is {gap:.1g}. The "
        "paper calls its bounds tight but prints none."
    )
    return StatementFinding("definition_5", Verdict.HOLDS, why, numbers)


def _bias(layer: nn.Conv3d) -> Tensor:
    return torch.zeros(layer.out_channels, device=layer.weight.device) if layer.bias is None else layer.bias
