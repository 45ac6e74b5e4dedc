"""Definition 4, Eq. 23 and Theorem 2.5: what the balancing of the losses does, and where it leads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.theory.findings import (
    CheckOutcome,
    Row,
    StatementFinding,
    Verdict,
    judge_equation,
    not_applicable,
)
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject
from crossmodalnet.training.balancing import AdaptiveBalancer, Balancing, balancing_weights
from crossmodalnet.training.segmentation import evaluate_objectives

Array = NDArray[np.float64]
# Where the two losses of the convex problem have their minima, and their curvatures along the two axes.
MINIMA = np.array([[1.0, 0.0], [0.0, 1.0]])
CURVATURES = np.array([[1.0, 3.0], [2.0, 1.0]])
START = np.array([-1.0, -1.5])
STEP_SIZE = 0.05
NUM_STEPS = 2000


@dataclass(frozen=True)
class ParetoProblem:
    """Several losses of one vector.

    Attributes:
        values: (m,) at a point.
        gradients: (m, n) at a point.
        start: (n,).
    """

    values: Callable[[Array], Array]
    gradients: Callable[[Array], Array]
    start: Array


def smallest_norm(gram: Array) -> tuple[float, Array]:
    """Find the shortest vector in the convex hull of gradients (Désidéri 2012); it is 0 at Pareto-stationary points.

    Every face of the hull is tried: exact, and quick for the few losses that a training has.

    Args:
        gram: (m, m), inner products of the gradients.

    Returns:
        Length of the shortest vector, and the weights (m,) that give it, from 0 to 1 with sum 1.
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


def descend(problem: ParetoProblem, mode: Balancing, alpha: float) -> list[Array]:
    """Follow the balanced gradient, with the training's own balancer, in plain steps; gives every point."""
    point = problem.start.copy()
    balancer = AdaptiveBalancer([str(i) for i in range(len(problem.values(point)))], mode, alpha)
    points = [point]
    for _ in range(NUM_STEPS):
        weights = np.array(balancer.weights)
        balancer.update([float(value) for value in problem.values(point)])
        point = point - STEP_SIZE * weights @ problem.gradients(point)
        points.append(point)
    return points


def stationarity(problem: ParetoProblem, point: Array) -> float:
    """Distance of a point to Pareto stationarity: the smallest norm in the hull of its gradients."""
    gradients = problem.gradients(point)
    return smallest_norm(gradients @ gradients.T)[0]


def convex_problem() -> ParetoProblem:
    """Two quadratic bowls in the plane; their Pareto front is known, see `distance_to_front`."""
    return ParetoProblem(
        lambda x: 0.5 * (CURVATURES * (x - MINIMA) ** 2).sum(1),
        lambda x: CURVATURES * (x - MINIMA),
        START,
    )


def distance_to_front(point: Array, num_points: int = 20_001) -> float:
    """Distance of a point to the Pareto front of `convex_problem`.

    The front holds the minima of all weighted sums: `(w C_1 + (1 - w) C_2)^-1 (w C_1 m_1 + (1 - w) C_2 m_2)`.
    """
    shares = np.linspace(0, 1, num_points)[:, None]
    first, second = CURVATURES
    sums = shares * first + (1 - shares) * second
    front = (shares * first * MINIMA[0] + (1 - shares) * second * MINIMA[1]) / sums
    return float(np.linalg.norm(front - point, axis=1).min())


def two_valleys() -> ParetoProblem:
    """Two losses with a shallow valley near 1, where descent starts, and for both a deeper one near -1."""
    slopes, walls = np.array([0.3, 0.25]), np.array([1.0, 1.2])
    return ParetoProblem(
        lambda x: walls * (x[0] ** 2 - 1) ** 2 + slopes * x[0],
        lambda x: (walls * 4 * x[0] * (x[0] ** 2 - 1) + slopes)[:, None],
        np.array([1.3]),
    )


def deeper_valley(problem: ParetoProblem) -> Array:
    """Find the point of `two_valleys` that is best for the sum of both losses, on a grid over [-2, 2]."""
    grid = np.linspace(-2, 2, 4001)
    best: Sequence[float] = [float(problem.values(np.array([x])).sum()) for x in grid]
    return np.array([grid[int(np.argmin(best))]])


KEYS = ("definition_4", "equation_23", "theorem_2_5")
MODES: tuple[Balancing, ...] = get_args(Balancing)
WEIGHT_TOLERANCE = 1e-6
CONVERGED = 1e-3
# Losses closer than this share of the larger one are no clear case of one being larger.
CLEAR = 0.1
GRADIENT_CASES = 2
SHOWN_STEPS = 60


def check(subject: AuditSubject, settings: AuditSettings) -> CheckOutcome:
    """Check the balancing of the trained network's losses."""
    if len(subject.objectives) < 2:
        return CheckOutcome(
            [not_applicable(key, "One objective alone has nothing to be balanced with.") for key in KEYS]
        )
    losses = np.array([subject.curves[f"loss_{name}"] for name in subject.objectives]).T  # epochs, objectives
    weights = np.array([subject.curves[f"weight_{name}"] for name in subject.objectives]).T
    # Weights follow the losses of one step before. With the last epoch twice, those of each epoch are looked at.
    series = np.vstack([losses, losses[-1:]])
    replayed = replay(series, subject.objectives, subject.balancing, subject.alpha)
    deviation = float(np.abs(replayed - equation_23(series, subject.alpha)).max())
    what, options = (
        "The weights of this training",
        [f"balancing: {subject.balancing}"] * (subject.balancing != "paper"),
    )
    convex, rows = convex_rows(subject.alpha)
    gram, gradient_rows = _gradients(subject, subject.training[:GRADIENT_CASES], losses[-1])
    findings = [
        judge_equation("definition_4", what, "Eq. 23", deviation, WEIGHT_TOLERANCE, options),
        judge_attention(subject.objectives, losses, weights),
        judge_convergence(
            subject.balancing, convex[subject.balancing], dominated(subject.balancing, subject.alpha), gram
        ),
    ]
    tables = {
        "balancing_convex": rows,
        "balancing_weights": weight_rows(losses, subject.objectives, subject.alpha),
        "balancing_gradients": gradient_rows,
    }
    return CheckOutcome(findings, tables)


def equation_23(losses: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Compute Eq. 23 as printed, `exp(-alpha L_i) / sum_j exp(-alpha L_j)`, from the losses of the row before.

    Args:
        losses: (steps, objectives).
        alpha: alpha of Eq. 23.

    Returns:
        (steps - 1, objectives).
    """
    powers = np.exp(-alpha * losses[:-1])
    weights: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return weights


def replay(
    losses: NDArray[np.float64], names: Sequence[str], mode: Balancing, alpha: float
) -> NDArray[np.float64]:
    """Give the weights that the training's balancer answers to a series of losses, `(steps - 1, objectives)`."""
    balancer = AdaptiveBalancer(names, mode, alpha)
    weights = []
    for row in losses:
        balancer.update([float(value) for value in row])
        weights.append(balancer.weights)
    return np.array(weights[:-1])


def weight_rows(losses: NDArray[np.float64], names: Sequence[str], alpha: float) -> list[Row]:
    """Weigh the losses of every epoch in every mode; rows of table `balancing_weights`."""
    return [
        {"mode": mode, "epoch": epoch + 1, "objective": name, "weight": weight}
        for mode in MODES
        for epoch, row in enumerate(losses)
        for name, weight in zip(names, balancing_weights([float(x) for x in row], alpha, mode), strict=True)
    ]


def convex_rows(alpha: float) -> tuple[dict[Balancing, tuple[float, float]], list[Row]]:
    """Descend on the convex problem in every mode.

    Returns:
        the last point's distances to stationarity and to the Pareto front by mode, and rows of table
        `balancing_convex`.
    """
    problem = convex_problem()
    last: dict[Balancing, tuple[float, float]] = {}
    rows: list[Row] = []
    for mode in MODES:
        points = descend(problem, mode, alpha)
        steps = np.unique(np.geomspace(1, len(points), SHOWN_STEPS).round().astype(int)) - 1
        rows += [{"mode": mode, "step": int(s), "distance": stationarity(problem, points[s])} for s in steps]
        last[mode] = stationarity(problem, points[-1]), distance_to_front(points[-1])
    return last, rows


def dominated(mode: Balancing, alpha: float) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Descend on the problem with two valleys: where it ends, the losses there, and those of the deeper valley."""
    problem = two_valleys()
    end = descend(problem, mode, alpha)[-1]
    return float(end[0]), problem.values(end), problem.values(deeper_valley(problem))


def judge_attention(
    names: Sequence[str], losses: NDArray[np.float64], weights: NDArray[np.float64]
) -> StatementFinding:
    """Give the verdict on the text beneath Eq. 23 from losses and weights per epoch, `(epochs, objectives)`."""
    ordered = np.sort(losses, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] >= CLEAR * ordered[:, -1]
    if not clear.any():
        why = "In no epoch was one loss clearly larger than the others."
        return StatementFinding("equation_23", Verdict.UNDECIDED, why, {"share_of_epochs": 0.0})
    right = (losses.argmax(1) == weights.argmax(1)) & (np.ptp(weights, axis=1) > WEIGHT_TOLERANCE)
    share = float(right[clear].mean())
    numbers = {"share_of_epochs": share}
    if share == 1:
        why = "In every epoch with a clear difference the larger loss had the larger weight."
        return StatementFinding("equation_23", Verdict.HOLDS, why, numbers)
    epoch = int(np.flatnonzero(clear & ~right)[0])
    larger = int(losses[epoch].argmax())
    return StatementFinding(
        "equation_23",
        Verdict.FAILS,
        f"The larger, more challenging loss had the larger weight in {share:.0%} of the epochs.",
        numbers,
        "The sign of the exponent: exp(-alpha L) is smaller for a larger loss, so the formula does the opposite of "
        "the sentence beneath it (balancing: harder does what the sentence says).",
        f"In epoch {epoch + 1} of this training the larger loss ({names[larger]}, {losses[epoch, larger]:.3f}) "
        f"weighed {weights[epoch, larger]:.3f}, where equal weights are {1 / len(names):.3f}.",
    )


def judge_convergence(
    mode: Balancing,
    convex: tuple[float, float],
    valleys: tuple[float, NDArray[np.float64], NDArray[np.float64]],
    gradients: Mapping[str, float],
) -> StatementFinding:
    """Give the verdict on Theorem 2.5.

    Args:
        mode: mode of the balancing.
        convex: distances to stationarity and to the front at the end of the convex problem.
        valleys: valleys as `dominated` gives them.
        gradients: figures of the trained network, reported beside them.
    """
    end, here, there = valleys
    gap = float((here - there).min())
    numbers = {
        "convex_distance": convex[0],
        "convex_distance_to_front": convex[1],
        "dominated_by": gap,
        **gradients,
    }
    losses = (
        f"losses {here[0]:.3f} and {here[1]:.3f}; the deeper valley has {there[0]:.3f} and {there[1]:.3f}"
    )
    if max(convex) > CONVERGED:
        verdict, why = (
            Verdict.FAILS,
            f"With balancing: {mode} even a convex problem ends {convex[1]:.2g} from its Pareto front.",
        )
    elif gap > 0:
        verdict, why = (
            Verdict.CONDITIONAL,
            "On a convex problem the balancing reaches the Pareto front; where losses have several valleys, as those "
            "of networks have, it can end in a point that another one beats in every loss.",
        )
    else:
        why = "The balancing ended at Pareto-optimal points of both test problems."
        return StatementFinding("theorem_2_5", Verdict.HOLDS, why, numbers)
    return StatementFinding(
        "theorem_2_5",
        verdict,
        why,
        numbers,
        "Step 2 assumes its conclusion: a limit of gradient descent need not minimise the weighted sum (Eq. 27), only "
        "its gradient vanishes. Step 1 (Eq. 25) assumes that the losses settle.",
        f"Two losses of one variable with two valleys, started at 1.3: descent ends at {end:.3f} with {losses}, "
        "better in both.",
    )


def _gradients(
    subject: AuditSubject, cases: Sequence[LabelledCase], losses: NDArray[np.float64]
) -> tuple[dict[str, float], list[Row]]:
    """Compare the gradients of the objectives at the trained weights with the shortest vector of their hull.

    They are of the logits that the network gives in use: coarser ones (deep supervision) are there to help training.
    """
    parameters = [p for p in subject.network.parameters() if p.requires_grad]
    label = torch.stack([case.label for case in cases]).to(subject.device).long()
    values = evaluate_objectives(subject.objectives, subject.network(subject.images(cases)), label)
    vectors = []
    for value in values:
        found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        vectors.append(torch.cat([g.flatten().double() for g in found if g is not None]))
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
