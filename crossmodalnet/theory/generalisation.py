"""Check Definition 5: Rademacher complexity of the last layer, its bound, and the measured gap."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.subject import AuditSubject, capture_inputs

MAX_VOXELS = 10_000  # of a case, that its loss is averaged over
NUM_DRAWS = 60  # of random signs
CONFIDENCE = 0.95
# Of the ramp loss: 1 where another class wins, 0 where the true one is ahead by a logit, linear between.
MARGIN = 1.0
STANDARD_ERRORS = 4.0


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Estimate the complexity of the trained network's last layer on the training pairs."""
    network = subject.network
    if not isinstance(network, CrossModalNet):
        return CheckOutcome([not_applicable("definition_5", "Only CrossModalNet's last layer is examined.")])
    layer = network.head.classify
    bias = torch.zeros(layer.out_channels, device=subject.device) if layer.bias is None else layer.bias
    weights = torch.cat([layer.weight.flatten(1), bias[:, None]], dim=1).detach()  # (C, p + 1)
    train = take_sample(network, subject, subject.training, config.seed)
    test = take_sample(network, subject, subject.test, config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    signed_sum, error, largest = estimate(train[0], len(weights), NUM_DRAWS, generator)
    n, voxels, _ = train[0].shape
    rademacher = class_complexity(float(weights.norm()), signed_sum, n, voxels)
    bound = gap_bound(rademacher, n)
    error_rate = float((margins(*test, weights) <= 0).float().mean())
    ramp_loss = float((1 - margins(*train, weights) / MARGIN).clamp(0, 1).mean())
    numbers = {
        "complexity": rademacher,
        "relative_error": error / signed_sum,
        "bound": bound,
        "measured_gap": error_rate - ramp_loss,
    }
    terms = {"complexity": "complexity", "bound": "bound", "gap": "measured_gap"}
    rows: list[Row] = [{"term": term, "value": numbers[name]} for term, name in terms.items()]
    finding = judge(numbers, signed_sum, error, largest, n)
    return CheckOutcome([finding], {"generalisation": rows})


def take_sample(
    network: CrossModalNet, subject: AuditSubject, cases: Sequence[LabelledCase], seed: int
) -> tuple[Tensor, Tensor]:
    """Collect inputs (n, v, p) of the last layer, with a last 1 for the bias, and labels (n, v) at random voxels."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(cases[0].label.numel(), generator=generator)[:MAX_VOXELS]
    features, labels = [], []
    for case in cases:
        captured = capture_inputs(network, subject.images([case]), nn.Conv3d).values()
        inputs = next(arguments[0] for module, arguments in captured if module is network.head.classify)
        chosen = inputs[0].flatten(1)[:, places.to(subject.device)].T.cpu()  # (v, p)
        features.append(torch.cat([chosen, torch.ones(len(chosen), 1)], dim=1))
        labels.append(case.label.flatten()[places].long())
    return torch.stack(features), torch.stack(labels)


def estimate(features: Tensor, num_classes: int, draws: int, generator: torch.Generator) -> tuple[float, float, float]:
    """Estimate `E_sigma ||sum sigma phi||` of phi (n, v, p), with a random sign for every case, voxel and class.

    Times B, it is the supremum of Definition 5 over layers `phi -> W phi`, `||W||_F <= B` (Cauchy and Schwarz). Returns
    mean and standard error of the draws, and the upper bound by Jensen, `sqrt(C sum ||phi||^2)`.
    """
    flat = features.flatten(0, 1)
    norms = []
    for _ in range(draws):
        signs = torch.randint(0, 2, (num_classes, len(flat)), generator=generator, dtype=torch.int8)
        norms.append(float(((2 * signs - 1).to(flat.dtype) @ flat).norm()))
    values = torch.tensor(norms, dtype=torch.float64)
    largest = math.sqrt(num_classes * float(flat.double().square().sum()))
    return float(values.mean()), float(values.std() / math.sqrt(draws)), largest


def class_complexity(norm: float, signed_sum: float, num_cases: int, num_voxels: int) -> float:
    """Bound the Rademacher complexity of a case's mean ramp loss over layers with `||W||_F <= norm`.

    By vector contraction (Maurer 2016): the loss is sqrt(2 / v) / margin Lipschitz in the logits of v voxels. Cases,
    not voxels, are independent.
    """
    return 2 / MARGIN * norm * signed_sum / (num_cases * math.sqrt(num_voxels))


def gap_bound(rademacher: float, num_cases: int) -> float:
    """Bound expected minus empirical loss with probability `CONFIDENCE`: `2 R + 3 sqrt(ln(2 / delta) / (2 n))`.

    Source: Bartlett and Mendelson 2002 (Mohri et al., Theorem 3.3); losses in [0, 1].
    """
    return 2 * rademacher + 3 * math.sqrt(math.log(2 / (1 - CONFIDENCE)) / (2 * num_cases))


def margins(features: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Subtract the largest logit of the other classes from that of the true one, `(n, v)`."""
    logits = features @ weights.T.cpu()
    true = logits.gather(2, labels[..., None])
    others = logits.scatter(2, labels[..., None], -torch.inf)
    return true[..., 0] - others.amax(2)


def judge(
    numbers: Mapping[str, float], signed_sum: float, error: float, largest: float, num_cases: int
) -> StatementFinding:
    """Judge Definition 5 by `estimate` between Khintchine's bound `largest / sqrt(2)` (Szarek 1976) and `largest`."""
    smallest, tolerance = largest / math.sqrt(2), STANDARD_ERRORS * error
    if not smallest - tolerance <= signed_sum <= largest + tolerance:
        why = "The estimate lies outside of what theory allows for any sample: a defect."
        breaks = "The code, not the paper."
        example = f"Estimate {signed_sum:.4g}, bounds {smallest:.4g} and {largest:.4g}."
        return StatementFinding("definition_5", Verdict.FAILS, why, numbers, breaks, example)
    complexity, bound, gap = numbers["complexity"], numbers["bound"], numbers["measured_gap"]
    verb = "says something" if bound < 1 else "says nothing, since errors are never above 1"
    why = (
        f"The complexity can be estimated ({complexity:.3g}, to {error / signed_sum:.1%}); the bound that follows for "
        f"{num_cases} training pairs is {bound:.3g} and {verb}, while the gap that was measured is {gap:.1g}. The "
        "paper calls its bounds tight but prints none."
    )
    return StatementFinding("definition_5", Verdict.HOLDS, why, numbers)
