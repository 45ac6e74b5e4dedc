"""Corollary 1: shared information against entropy, of quantised and of continuous features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from crossmodalnet.theory.findings import StatementFinding, Verdict
from crossmodalnet.theory.information import copula_information
from crossmodalnet.theory.tokens import LayerTokens, pooled

Codes = NDArray[np.int64]


def rank_codes(x: NDArray[np.float64], num_codes: int) -> Codes:
    """Give samples `(n,)` codes 0 to num_codes - 1 by their ranks, equally often but for ties, which share one."""
    share = (rankdata(x) - 0.5) / len(x)
    return np.minimum((share * num_codes).astype(np.int64), num_codes - 1)


def plug_in_entropy(codes: Codes) -> float:
    """Entropy of the frequencies of codes `(n,)`."""
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(-np.sum(shares * np.log(shares)))


def plug_in_information(a: Codes, b: Codes) -> float:
    """Mutual information of the joint frequencies of codes `(n,)`, from its definition and no entropy.

    Too high by about `(A - 1) (B - 1) / (2 n)` for independent samples of A and B codes.
    """
    rows, columns = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    joint = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(joint, (rows, columns), 1 / len(a))
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen])))


def gaussian_entropy(x: NDArray[np.float64]) -> float:
    """Differential entropy of a Gaussian with the variances of `(n, p)`: no density of those has more.

    An upper bound, reached by independent Gaussian columns such as principal components may be. May be negative.
    """
    variance = np.maximum(x.var(axis=0, ddof=1), np.finfo(np.float64).tiny)
    return float(np.sum(np.log(2 * np.pi * np.e * variance))) / 2


NUM_CODES = 8
# An invertible change of features: it leaves what they share as it is, but not their differential entropy.
RESCALING = 1e-3
# Rounding of sums over frequencies.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class EntropyBound:
    """Both sides of Corollary 1 at one layer, in nats.

    Attributes:
        name: name of the layer.
        information: mutual information of quantised features.
        entropy_ct: entropy of the quantised CT features.
        entropy_mr: entropy of the quantised MR features.
        continuous_information: mutual information of the features as they are.
        continuous_entropy: differential entropy of the poorer stream, at most.
        rescaled_information: mutual information of the features times a constant.
        rescaled_entropy: differential entropy of the poorer stream, at most, of the features times a constant.
    """

    name: str
    information: float
    entropy_ct: float
    entropy_mr: float
    continuous_information: float
    continuous_entropy: float
    rescaled_information: float
    rescaled_entropy: float

    @property
    def excess(self) -> float:
        """By how much quantised features break the bound; at most 0 where they do not."""
        return self.information - min(self.entropy_ct, self.entropy_mr)


def bound(layer: LayerTokens) -> EntropyBound:
    """Compute both sides of Corollary 1 at one layer."""
    ct, mr = pooled(layer.ct), pooled(layer.mr)
    codes_ct, codes_mr = rank_codes(ct[:, 0], NUM_CODES), rank_codes(mr[:, 0], NUM_CODES)
    smaller_ct, smaller_mr = RESCALING * ct, RESCALING * mr
    return EntropyBound(
        name=layer.name,
        information=plug_in_information(codes_ct, codes_mr),
        entropy_ct=plug_in_entropy(codes_ct),
        entropy_mr=plug_in_entropy(codes_mr),
        continuous_information=copula_information(ct, mr),
        continuous_entropy=min(gaussian_entropy(ct), gaussian_entropy(mr)),
        rescaled_information=copula_information(smaller_ct, smaller_mr),
        rescaled_entropy=min(gaussian_entropy(smaller_ct), gaussian_entropy(smaller_mr)),
    )


def judge_corollary_1(bounds: Sequence[EntropyBound]) -> StatementFinding:
    """Judge whether features share at most what the poorer stream contains.

    Args:
        bounds: both sides at every layer.
    """
    tightest = max(bounds, key=lambda item: item.excess)
    broken = [item for item in bounds if item.rescaled_information > item.rescaled_entropy]
    worst = max(bounds, key=lambda item: item.rescaled_information - item.rescaled_entropy)
    numbers = {
        "largest_excess_quantised": tightest.excess,
        "largest_excess_rescaled": worst.rescaled_information - worst.rescaled_entropy,
        "information_change_rescaled": max(
            abs(item.rescaled_information - item.continuous_information) for item in bounds
        ),
        "layers_broken_unscaled": float(
            sum(item.continuous_information > item.continuous_entropy for item in bounds)
        ),
    }
    quantised = (
        f"quantised features share {tightest.information:.2f} nats at {tightest.name}, the poorer stream contains "
        f"{min(tightest.entropy_ct, tightest.entropy_mr):.2f}"
    )
    if tightest.excess > TOLERANCE:
        return StatementFinding(
            "corollary_1",
            Verdict.FAILS,
            f"The bound is broken even where it is a theorem: {quantised}.",
            numbers,
            breaks="None: for quantised features the proof is right, so the computation is wrong.",
            counterexample=f"{tightest.name}: {quantised}.",
        )
    if not broken:
        return StatementFinding(
            "corollary_1", Verdict.HOLDS, f"At every layer, {quantised} at least.", numbers
        )
    return StatementFinding(
        "corollary_1",
        Verdict.CONDITIONAL,
        f"It holds for features of finitely many values ({quantised}), but features are continuous, and their "
        f"differential entropy may be negative: rescaled ones break the bound at {len(broken)} of "
        f"{len(bounds)} layers.",
        numbers,
        breaks="Eq. 20 drops H(F_a | F_b) as if it were not negative. Of continuous features it can be: "
        "differential entropy depends on the unit in which features are measured, mutual information does not.",
        counterexample=f"{worst.name}, features times a small constant: they share "
        f"{worst.rescaled_information:.2f} nats as before ({worst.continuous_information:.2f}), while the entropy "
        f"of the poorer stream falls from {worst.continuous_entropy:.2f} to {worst.rescaled_entropy:.2f} at most.",
    )
