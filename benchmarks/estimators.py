"""Accuracy of the estimators of mutual information: a Markdown table of estimates beside known values.

    python -m benchmarks.estimators --repetitions 10

Sample sizes are those of the audit with its defaults: 5 cases of 400 tokens, and of 125 at the deepest level. Each cell
is a mean over repetitions with their standard deviation, in nats.
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.theory.information import copula_information, knn_information

Samples = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Samples, Samples]]

SIZES = (2000, 625)
INFORMATION = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0)
DIMENSIONS = (1, 2, 4, 8, 16, 32)
WIDTHS = (0.1, 0.5, 1.0)


def main() -> None:
    """Estimate everything and print the table, row by row."""
    options = _parser().parse_args()
    sizes = [f"{name}, n = {n}" for n in options.sizes for name in ("copula", "knn")]
    print(f"| samples | dimensions | true | {' | '.join(sizes)} |")
    print("|---|---:|---:|" + "---:|" * len(sizes))
    for what, dimensions, truth, draw in _problems():
        cells = [cell for n in options.sizes for cell in estimate(draw, n, options.repetitions, options.neighbours)]
        print(f"| {what} | {dimensions} + {dimensions} | {truth:.2f} | {' | '.join(cells)} |", flush=True)
    print(f"\nMeans ± standard deviations of {options.repetitions} repetitions, nats; k = {options.neighbours}.")


def gaussian(information: float, dimensions: int) -> Draw:
    """Correlated Gaussians whose information is spread evenly over the dimensions."""
    rho = np.sqrt(1 - np.exp(-2 * information / dimensions))

    def draw(rng: np.random.Generator, n: int) -> tuple[Samples, Samples]:
        x = rng.standard_normal((n, dimensions))
        return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((n, dimensions))

    return draw


def uniform(width: float) -> Draw:
    """X uniform on [0, 1], y = x + noise uniform on [0, width]: I = -log(width) + width / 2 up to width 1."""

    def draw(rng: np.random.Generator, n: int) -> tuple[Samples, Samples]:
        x = rng.uniform(size=(n, 1))
        return x, x + rng.uniform(0, width, (n, 1))

    return draw


def estimate(draw: Draw, n: int, repetitions: int, neighbours: int) -> tuple[str, str]:
    """Estimate from `n` samples by both estimators, again and again, and write mean and deviation."""
    values = []
    for seed in range(repetitions):
        x, y = draw(np.random.default_rng([seed, n]), n)
        values.append((copula_information(x, y), knn_information(x, y, neighbours)))
    copula, knn = (f"{np.mean(v):.3f} ± {np.std(v, ddof=1):.3f}" for v in zip(*values, strict=True))
    return copula, knn


def _problems() -> list[tuple[str, int, float, Draw]]:
    gaussians = [("Gaussian", dim, info, gaussian(info, dim)) for dim in DIMENSIONS for info in INFORMATION]
    uniforms = [("uniform", 1, -np.log(width) + width / 2, uniform(width)) for width in WIDTHS]
    return [*gaussians, *uniforms]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=10, help="at least 2")
    parser.add_argument("--neighbours", type=int, default=4, help="k of the k-nearest-neighbour estimator")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of samples")
    return parser


if __name__ == "__main__":
    main()
