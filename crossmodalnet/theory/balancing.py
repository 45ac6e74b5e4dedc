"""Check the balancing of the losses: Definition 4, Eq. 23 and Theorem 2.5."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, judge_equation, not_applicable
from crossmodalnet.theory.statements import STATEMENTS
from crossmodalnet.theory.subject import AuditSubject
from crossmodalnet.training.balancing import AdaptiveBalancer, Balancing, balancing_weights
from crossmodalnet.training.objectives import evaluate_objectives

Array = NDArray[np.float64]
# Losses (m,) and their gradients (m, n) at a point (n,).
Problem = Callable[[Array], tuple[Array, Array]]
KEYS = ("definition_4", "equation_23", "theorem_2_5")
MODES: tuple[Balancing, ...] = get_args(Balancing)
WEIGHT_TOLERANCE = 1e-6
CONVERGED = 1e-3
CLEAR = 0.1  # share of the larger loss by which it must be ahead to count as larger
GRADIENT_CASES = 2
SHOWN_STEPS = 60
# Minima of the two losses of the convex problem, and their curvatures along the two axes.
MINIMA = np.array([[1.0, 0.0], [0.0, 1.0]])
CURVATURES = np.array([[1.0, 3.0], [2.0, 1.0]])
CONVEX_START, VALLEYS_START = np.array([-1.0, -1.5]), np.array([1.3])
STEP_SIZE = 0.05
NUM_STEPS = 2000


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Check the balancing of the trained network's losses."""
    if len(subject.objectives) < 2:
        return CheckOutcome(
            [not_applicable(key, "One objective alone has nothing to be balanced with.") for key in KEYS]
        )
    names, mode, alpha = subject.objectives, subject.balancing, subject.alpha
    losses = np.array([subject.curves[f"loss_{name}"] for name in names]).T  # epochs, objectives
    weights = np.array([subject.curves[f"weight_{name}"] for name in names]).T
    # Weights follow the losses of one step before: with the last epoch twice, each epoch has its weights.
    series = np.vstack([losses, losses[-1:]])
    deviation = float(np.abs(replay(series, names, mode, alpha) - equation_23(series, alpha)).max())
    options = [f"balancing: {mode}"] * (mode != "paper")
    what = "The weights of this training"
    convex, rows = convex_rows(alpha)
    end = descend(two_valleys, VALLEYS_START, mode, alpha)[-1]
    here, deeper = two_valleys(end)[0], two_valleys(deeper_valley())[0]
    gradients, gradient_rows = _gradients(subject, losses[-1])
    weight_rows: list[Row] = [
        {"mode": mode, "epoch": epoch, "objective": name, "weight": weight}
        for mode in MODES
        for epoch, row in enumerate(losses.tolist(), 1)
        for name, weight in zip(names, balancing_weights(row, alpha, mode), strict=True)
    ]
    findings = [
        judge_equation("definition_4", what, "Eq. 23", deviation, WEIGHT_TOLERANCE, options),
        judge_attention(names, losses, weights),
        judge_convergence(mode, convex[mode], float(end[0]), here, deeper, gradients),
    ]
    tables = {"balancing_convex": rows, "balancing_weights": weight_rows}
    return CheckOutcome(findings, {**tables, "balancing_gradients": gradient_rows})


def equation_23(losses: Array, alpha: float) -> Array:
    """Compute Eq. 23 as printed from `(steps, objectives)`: weights `(steps - 1, objectives)` from the step before."""
    powers = np.exp(-alpha * losses[:-1])
    return powers / powers.sum(1, keepdims=True)


def replay(losses: Array, names: Sequence[str], mode: Balancing, alpha: float) -> Array:
    """Feed losses to the training's balancer and collect its weights, `(steps - 1, objectives)`."""
    balancer = AdaptiveBalancer(names, mode, alpha)
    weights = []
    for row in losses:
        balancer.update([float(value) for value in row])
        weights.append(balancer.weights)
    return np.array(weights[:-1])


def convex_problem(point: Array) -> tuple[Array, Array]:
    """Compute losses and gradients of two quadratic bowls in the plane (Pareto front: `distance_to_front`)."""
    step = point - MINIMA
    return 0.5 * (CURVATURES * step**2).sum(1), CURVATURES * step


def two_valleys(point: Array) -> tuple[Array, Array]:
    """Compute losses and gradients in one variable; both losses have a shallow valley near 1, a deeper near -1."""
    x, walls, slopes = point[0], np.array([1.0, 1.2]), np.array([0.3, 0.25])
    return walls * (x**2 - 1) ** 2 + slopes * x, (walls * 4 * x * (x**2 - 1) + slopes)[:, None]


def deeper_valley() -> Array:
    """Find the point of `two_valleys` with the smallest sum of losses, on a grid over [-2, 2]."""
    grid = np.linspace(-2, 2, 4001)
    sums = [float(two_valleys(np.array([x]))[0].sum()) for x in grid]
    return np.array([grid[int(np.argmin(sums))]])


def distance_to_front(point: Array, num_points: int = 20_001) -> float:
    """Measure the distance of a point to the Pareto front of `convex_problem`, the minima of all weighted sums."""
    shares = np.linspace(0, 1, num_points)[:, None]
    first, second = CURVATURES
    sums = shares * first + (1 - shares) * second
    front = (shares * first * MINIMA[0] + (1 - shares) * second * MINIMA[1]) / sums
    return float(np.linalg.norm(front - point, axis=1).min())


def smallest_norm(gram: Array) -> tuple[float, Array]:
    """Find the shortest vector in the convex hull of gradients (Désidéri 2012), 0 at Pareto-stationary points.

    Takes their inner products (m, m); returns the length and the weights (m,), sum 1. Tries every face of the hull.
    """
    best, weights = np.inf, np.zeros(len(gram))
    for size in range(1, len(gram) + 1):
        for face in map(list, combinations(range(len(gram)), size)):
            # Stationary on this face's plane: K w = -lambda 1, 1' w = 1; K is singular where gradients oppose.
            system = np.block([[gram[np.ix_(face, face)], np.ones((size, 1))], [np.ones((1, size)), 0.0]])
            inner = np.linalg.lstsq(system, np.append(np.zeros(size), 1.0), rcond=None)[0][:size]
            if (inner < 0).any():
                continue  # the shortest vector of the plane lies outside of the face
            candidate = np.zeros(len(gram))
            candidate[face] = inner
            if (squared := float(candidate @ gram @ candidate)) < best:
                best, weights = squared, candidate
    return float(np.sqrt(max(best, 0.0))), weights


def stationarity(gradients: Array) -> float:
    """Measure the distance to Pareto stationarity: the smallest norm in the hull of gradients (m, n)."""
    return smallest_norm(gradients @ gradients.T)[0]


def descend(problem: Problem, start: Array, mode: Balancing, alpha: float) -> list[Array]:
    """Run gradient descent weighted by the training's own balancer; return every point."""
    point = start
    balancer = AdaptiveBalancer([str(i) for i in range(len(problem(point)[0]))], mode, alpha)
    points = [point]
    for _ in range(NUM_STEPS):
        losses, gradients = problem(point)
        weights = np.array(balancer.weights)
        balancer.update([float(value) for value in losses])
        point = point - STEP_SIZE * weights @ gradients
        points.append(point)
    return points


def convex_rows(alpha: float) -> tuple[dict[Balancing, tuple[float, float]], list[Row]]:
    """Descend in every mode; return last distances to stationarity and front, and rows of `balancing_convex`."""
    last: dict[Balancing, tuple[float, float]] = {}
    rows: list[Row] = []
    for mode in MODES:
        points = descend(convex_problem, CONVEX_START, mode, alpha)
        steps = np.unique(np.geomspace(1, len(points), SHOWN_STEPS).round().astype(int)) - 1
        for step in steps.tolist():
            distance = stationarity(convex_problem(points[step])[1])
            rows.append({"mode": mode, "step": step, "distance": distance})
        last[mode] = stationarity(convex_problem(points[-1])[1]), distance_to_front(points[-1])
    return last, rows


def judge_attention(names: Sequence[str], losses: Array, weights: Array) -> StatementFinding:
    """Judge the text beneath Eq. 23 by losses and weights per epoch, `(epochs, objectives)`."""
    key, ordered = "equation_23", np.sort(losses, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] >= CLEAR * ordered[:, -1]
    if not clear.any():
        why = "In no epoch was one loss clearly larger than the others."
        return StatementFinding(key, Verdict.UNDECIDED, why, {"share_of_epochs": 0.0})
    right = (losses.argmax(1) == weights.argmax(1)) & (np.ptp(weights, axis=1) > WEIGHT_TOLERANCE)
    share = float(right[clear].mean())
    numbers = {"share_of_epochs": share}
    if share == 1:
        why = "In every epoch with a clear difference the larger loss had the larger weight."
        return StatementFinding(key, Verdict.HOLDS, why, numbers)
    why = f"The larger, more challenging loss had the larger weight in {share:.0%} of the epochs."
    epoch = int(np.flatnonzero(clear & ~right)[0])
    larger = int(losses[epoch].argmax())
    example = (
        f"In epoch {epoch + 1} of this training the larger loss ({names[larger]}, {losses[epoch, larger]:.3f}) "
        f"weighed {weights[epoch, larger]:.3f}, where equal weights are {1 / len(names):.3f}."
    )
    return StatementFinding(key, Verdict.FAILS, why, numbers, STATEMENTS[key].breaks, example)


def judge_convergence(
    mode: Balancing,
    convex: tuple[float, float],
    end: float,
    losses: Array,
    deeper: Array,
    gradients: Mapping[str, float],
) -> StatementFinding:
    """Judge Theorem 2.5; the gradients of the trained network are only reported.

    `convex`: last distances to stationarity and front; `end`, `losses`: last on `two_valleys`; `deeper`: losses of its
    deeper valley.
    """
    key, gap = "theorem_2_5", float((losses - deeper).min())
    numbers = {"convex_distance": convex[0], "convex_distance_to_front": convex[1], "dominated_by": gap}
    numbers |= gradients
    if max(convex) > CONVERGED:
        verdict = Verdict.FAILS
        why = f"With balancing: {mode} even a convex problem ends {convex[1]:.2g} from its Pareto front."
    elif gap > 0:
        verdict = Verdict.CONDITIONAL
        why = (
            "On a convex problem the balancing reaches the Pareto front; where losses have several valleys, as those "
            "of networks have, it can end in a point that another one beats in every loss."
        )
    else:
        why = "The balancing ended at Pareto-optimal points of both test problems."
        return StatementFinding(key, Verdict.HOLDS, why, numbers)
    example = (
        f"Two losses of one variable with two valleys, started at 1.3: descent ends at {end:.3f} with losses "
        f"{losses[0]:.3f} and {losses[1]:.3f}; the deeper valley has {deeper[0]:.3f} and {deeper[1]:.3f}, "
        "better in both."
    )
    return StatementFinding(key, verdict, why, numbers, STATEMENTS[key].breaks, example)


def _gradients(subject: AuditSubject, losses: Array) -> tuple[dict[str, float], list[Row]]:
    """Compare gradients of the objectives (inference logits) with the shortest vector of their hull."""
    cases = subject.training[:GRADIENT_CASES]
    parameters = [p for p in subject.network.parameters() if p.requires_grad]
    label = torch.stack([case.label for case in cases]).to(subject.device).long()
    values = evaluate_objectives(subject.objectives, subject.network(subject.images(cases)), label)
    vectors = []
    for value in values:
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        vectors.append(torch.cat([g.flatten().double() for g in gradients if g is not None]))
    stacked = torch.stack(vectors)
    gram = (stacked @ stacked.T).cpu().numpy()
    smallest, _ = smallest_norm(gram)
    rows: list[Row] = []
    for mode in MODES:
        weights = np.array(balancing_weights([float(x) for x in losses], subject.alpha, mode))
        norm = float(np.sqrt(weights @ gram @ weights))
        rows.append({"mode": mode, "weighted_norm": norm, "smallest_norm": smallest})
    largest = float(np.sqrt(np.diag(gram).max()))
    return {"trained_distance": smallest, "trained_distance_relative": smallest / max(largest, 1e-12)}, rows
