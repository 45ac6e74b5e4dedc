"""Every numbered statement of the paper that is checked: its claim in plain words, and the rule of its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Statement:
    """A statement of the paper, for readers who have not read it.

    Attributes:
        number: as the paper prints it.
        group: key of `GROUPS`, and name of the module whose `check` gives the finding.
        claim: content in one sentence.
        check: computation that checks the statement.
        rule: rule by which the verdict follows from the numbers.
    """

    number: str
    group: str
    claim: str
    check: str
    rule: str


# Titles of the groups of checks, in the order of the report.
GROUPS: Mapping[str, str] = MappingProxyType({
    "attention": "Cross attention",
    "blocks": "Blocks and the deformable operator",
    "cost": "What attention costs",
    "approximation": "What the network can represent",
    "flow": "Information flow between CT and MR",
    "balancing": "Balancing of the losses",
    "generalisation": "From training to new patients",
    "lipschitz": "How sensitive the network can be",
    "robustness": "Robustness to disturbed images",
})  # fmt: skip

_STATEMENTS = (
    Statement(
        "Definition 1", "blocks",
        "A Swin block is self-attention and a small network, added to the block's input (Eq. 2).",
        "The blocks of the trained network against a token-by-token computation of Eq. 2, windows and all.",
        "Holds up to a relative deviation of 1e-4; departs where an option replaces Eq. 2.",
    ),
    Statement(
        "Definition 2", "attention",
        "In cross attention, tokens of one image ask, tokens of the other are asked, and values come from "
        "the asking image (Eq. 4).",
        "The cross attentions of the trained network on their own inputs against Eq. 4 written out.",
        "Holds up to a relative deviation of 1e-4; departs where an option replaces Eq. 4.",
    ),
    Statement(
        "Definition 3", "blocks",
        "The deformable operator replaces each feature by a weighted sum of features at learned offsets "
        "(Eq. 7).",
        "The operators of the trained network against SciPy's interpolation at the same offsets.",
        "Holds up to a relative deviation of 1e-4 with all offsets within their bound, else fails.",
    ),
    Statement(
        "Definition 4", "balancing",
        "Training weighs its losses anew at every step, by the values they had at the step before.",
        "The weights of the trained network's balancing on its own losses against Eq. 23 written out.",
        "Holds up to a deviation of 1e-6; departs where an option replaces Eq. 23.",
    ),
    Statement(
        "Definition 5", "generalisation",
        "The Rademacher complexity says how well a class of functions can follow pure noise.",
        "Monte Carlo over random signs for the last layer with bounded norm, for which the best fit is "
        "known in closed form; the bound on the generalisation gap that follows, beside the gap that was "
        "measured.",
        "Holds where the estimate lies between its bounds by Khintchine and Jensen, else fails. The bound "
        "says something only below 1.",
    ),
    Statement(
        "Definition 6", "lipschitz",
        "A function is Lipschitz if one constant bounds how much any change of input can change its "
        "output.",
        "Growth of the sensitivity of the trained network's cross attention when its inputs leave every "
        "bounded set, or come close to zero.",
        "Holds where the sensitivity stays within 10 times its first value; under conditions where it "
        "grows beyond that, since it is then bounded on bounded sets only.",
    ),
    Statement(
        "Definition 7", "flow",
        "Cross-modal information flow is what a layer adds to the mutual information of CT and MR "
        "features.",
        "Mutual information per layer by two estimators, of registered pairs and of pairs of different "
        "subjects.",
        "Holds where registered pairs share clearly more than pairs of different subjects at the network's "
        "input by both estimators (95 % interval above 0), and flows add up to the total; else undecided.",
    ),
    Statement(
        "Equation 23", "balancing",
        "The weights make training pay more attention to the losses that are currently more challenging.",
        "Over all epochs of the training, the weight of the larger loss.",
        "Holds where the larger loss had the larger weight in every epoch in which they differ by a tenth, "
        "else fails.",
    ),
    Statement(
        "Equation 30", "lipschitz",
        "The network's sensitivity is at most the product of those of its three components, to the power "
        "of its depth.",
        "The same bound for a network of two identical streams whose true constant is known, and for the "
        "trained network beside the largest sensitivity found.",
        "Fails where the trained network exceeds it; under conditions where only the known example does; "
        "else holds.",
    ),
    Statement(
        "Theorem 2.1.1", "attention",
        "Cross attention is not symmetric: CT asking MR differs from MR asking CT.",
        "The relative difference of the two on the trained network's own features and on random ones.",
        "Holds where all differences exceed 1e-3, else fails.",
    ),
    Statement(
        "Theorem 2.1.2", "attention",
        "Twice as strong features give twice as strong cross attention, and nothing else changes.",
        "The relative deviation from proportionality when the trained network's own features are scaled.",
        "Holds up to a relative deviation of 1e-5, else fails.",
    ),
    Statement(
        "Theorem 2.1.3", "attention",
        "Cross attention does not depend on the order of tokens: reordered inputs give the reordered "
        "output.",
        "The relative deviation after the same permutation of both streams, on the trained network's "
        "attentions.",
        "Holds up to a relative deviation of 1e-5, else fails.",
    ),
    Statement(
        "Theorem 2.2", "blocks",
        "The deformable operator adds three parameters per sampling point and location.",
        "The offset parameters of every operator of the trained network, counted.",
        "Holds where each has exactly 3 K D H W of them; departs where they are predicted instead; else "
        "fails.",
    ),
    Statement(
        "Theorem 2.3", "approximation",
        "A large enough network can come as close as one likes to any continuous function of CT and MR.",
        "How much the output changes when both images are made darker by the same factor; errors on known "
        "functions over width and depth; overfitting of one case.",
        "Fails where inputs with different targets give the same output (to 1 %); no run can prove the "
        "claim, so it is undecided otherwise.",
    ),
    Statement(
        "Theorem 2.4", "flow",
        "CT and MR features share more information from layer to layer.",
        "Mutual information at every layer of encoder and decoder by two estimators, with 95 % intervals.",
        "Fails where both estimators find the same layer of the trained or of the untrained network to "
        "lose information (interval below 0); holds where no estimate of the trained one falls; else "
        "undecided.",
    ),
    Statement(
        "Theorem 2.5", "balancing",
        "Adaptive balancing leads to a solution that no other one beats in every loss.",
        "Distance to Pareto stationarity on a convex problem with a known Pareto front, on a problem with "
        "two valleys, and for the trained network's gradients.",
        "Fails where even the convex problem does not converge (1e-3); under conditions where only the one "
        "with two valleys ends at a dominated point; else holds.",
    ),
    Statement(
        "Theorem 2.6", "lipschitz",
        "A small change of the images changes the network's output by at most a constant times as much.",
        "An upper bound on that constant, component by component, and the largest ratio found by power "
        "iteration.",
        "Holds where the bound is finite and every attention is Lipschitz by itself; under conditions "
        "where it is finite only because normalisation bounds what attention sees; fails where a ratio "
        "exceeds the bound.",
    ),
    Statement(
        "Theorem 2.7", "flow",
        "Every layer adds shared information, and deeper layers add more than those before.",
        "Differences of mutual information between layers, and their growth, by two estimators, with 95 % "
        "intervals.",
        "Fails where both estimators find the same layer of the trained or of the untrained network to add "
        "less than nothing, or less than the one before (interval below 0); holds where no estimate of the "
        "trained one does; else undecided.",
    ),
    Statement(
        "Lemma 1", "cost",
        "Cross attention costs time that grows with the square of the number of tokens and in proportion "
        "to their channels.",
        "Operations counted by PyTorch over a range of tokens and channels, exponents fitted; times beside "
        "them.",
        "Holds where the exponents of full attention are 2 and 1 to within 0.1, else fails.",
    ),
    Statement(
        "Corollary 1", "flow",
        "What CT and MR features share is at most what the poorer of the two contains (its entropy).",
        "Mutual information against entropy at every layer: of quantised features, and of the continuous "
        "ones.",
        "Fails where the bound is broken for quantised features; under conditions where only the entropy "
        "of continuous features breaks it; else holds.",
    ),
    Statement(
        "Corollary 2", "robustness",
        "Noise of a given size changes the output by at most the network's Lipschitz constant times that "
        "size.",
        "Output change under noise, bias field, blur, motion and the worst perturbation found, against the "
        "bound.",
        "Holds where no change exceeds the bound of Theorem 2.6, else fails.",
    ),
)  # fmt: skip

# By key: `theorem_2_1_2` for Theorem 2.1.2.
STATEMENTS: Mapping[str, Statement] = MappingProxyType({
    statement.number.lower().replace(" ", "_").replace(".", "_"): statement for statement in _STATEMENTS
})  # fmt: skip
