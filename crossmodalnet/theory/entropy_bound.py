"""Check Corollary 1: shared information against the entropy of quantised and continuous features, in nats."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from crossmodalnet.theory.findings import StatementFinding, Verdict
from crossmodalnet.theory.information import Samples, copula_information
from crossmodalnet.theory.statements import STATEMENTS

Codes = NDArray[np.int64]
NUM_CODES = 8
RESCALING = 1e-3  # keeps mutual information, changes differential entropy
TOLERANCE = 1e-9  # rounding of sums over frequencies


def rank_codes(x: Samples, num_codes: int) -> Codes:
    """Quantise samples `(n,)` by rank to equally frequent codes 0 to num_codes - 1; ties share a code."""
    share = (rankdata(x) - 0.5) / len(x)
    return np.minimum((share * num_codes).astype(np.int64), num_codes - 1)


def plug_in_entropy(codes: Codes) -> float:
    """Compute the entropy of the frequencies of codes `(n,)`."""
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(-np.sum(shares * np.log(shares)))


def plug_in_information(a: Codes, b: Codes) -> float:
    """Compute the mutual information of codes `(n,)`; bias about `(A - 1) (B - 1) / (2 n)` if independent."""
    rows, columns = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    joint = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(joint, (rows, columns), 1 / len(a))
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen])))


def gaussian_entropy(x: Samples) -> float:
    """Compute the entropy of independent Gaussians with the variances of `(n, p)`: an upper bound, may be negative."""
    variance = np.maximum(x.var(axis=0, ddof=1), np.finfo(np.float64).tiny)
    return float(np.sum(np.log(2 * np.pi * np.e * variance))) / 2


def entropy_bound(ct: Samples, mr: Samples) -> dict[str, float]:
    """Compute both sides of Corollary 1 for `(n, p)` and `(n, q)`: quantised, continuous and rescaled features."""
    codes_ct, codes_mr = rank_codes(ct[:, 0], NUM_CODES), rank_codes(mr[:, 0], NUM_CODES)
    smaller_ct, smaller_mr = RESCALING * ct, RESCALING * mr
    return {
        "information": plug_in_information(codes_ct, codes_mr),
        "entropy_ct": plug_in_entropy(codes_ct),
        "entropy_mr": plug_in_entropy(codes_mr),
        "continuous_information": copula_information(ct, mr),
        "continuous_entropy": min(gaussian_entropy(ct), gaussian_entropy(mr)),
        "rescaled_information": copula_information(smaller_ct, smaller_mr),
        "rescaled_entropy": min(gaussian_entropy(smaller_ct), gaussian_entropy(smaller_mr)),
    }


def judge_corollary_1(bounds: Mapping[str, Mapping[str, float]]) -> StatementFinding:
    """Judge Corollary 1 by the values of `entropy_bound` at every layer."""
    key = "corollary_1"
    poorer = {name: min(item["entropy_ct"], item["entropy_mr"]) for name, item in bounds.items()}
    excess = {name: item["information"] - poorer[name] for name, item in bounds.items()}
    rescaled = {name: item["rescaled_information"] - item["rescaled_entropy"] for name, item in bounds.items()}
    tightest, worst = max(excess, key=excess.__getitem__), max(rescaled, key=rescaled.__getitem__)
    num_broken = sum(value > 0 for value in rescaled.values())
    changes = [abs(item["rescaled_information"] - item["continuous_information"]) for item in bounds.values()]
    unscaled = [item["continuous_information"] > item["continuous_entropy"] for item in bounds.values()]
    numbers = {
        "largest_excess_quantised": excess[tightest],
        "largest_excess_rescaled": rescaled[worst],
        "information_change_rescaled": max(changes),
        "layers_broken_unscaled": float(sum(unscaled)),
    }
    quantised = (
        f"quantised features share {bounds[tightest]['information']:.2f} nats at {tightest}, the poorer stream "
        f"contains {poorer[tightest]:.2f}"
    )
    if excess[tightest] > TOLERANCE:
        why = f"The bound is broken even where it is a theorem: {quantised}."
        breaks = "None: for quantised features the proof is right, so the computation is wrong."
        return StatementFinding("corollary_1", Verdict.FAILS, why, numbers, breaks, f"{tightest}: {quantised}.")
    if not num_broken:
        why = f"At every layer, {quantised} at least."
        return StatementFinding(key, Verdict.HOLDS, why, numbers)
    why = (
        f"It holds for features of finitely many values ({quantised}), but features are continuous, and their "
        f"differential entropy may be negative: rescaled ones break the bound at {num_broken} of {len(bounds)} layers."
    )
    item = bounds[worst]
    example = (
        f"{worst}, features times a small constant: they share {item['rescaled_information']:.2f} nats as before "
        f"({item['continuous_information']:.2f}), while the entropy of the poorer stream falls from "
        f"{item['continuous_entropy']:.2f} to {item['rescaled_entropy']:.2f} at most."
    )
    return StatementFinding(key, Verdict.CONDITIONAL, why, numbers, STATEMENTS[key].breaks, example)
