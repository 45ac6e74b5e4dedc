"""Made-up findings and tables of stage `audit`: well-formed, of plausible sizes."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodalnet.theory.findings import AGAINST_THE_PAPER, Verdict
from crossmodalnet.theory.statements import STATEMENTS

# Verdicts other than `holds`, with figures.
VERDICTS = {
    "theorem_2_1_2": (Verdict.FAILS, {"largest_deviation": 0.3712, "scale": 2.0}),
    "theorem_2_3": (Verdict.FAILS, {"relative_change": 2.1e-7, "largest_error": 0.4}),
    "theorem_2_4": (Verdict.FAILS, {"largest_loss": -0.42, "layers_that_lose": 3}),
    "theorem_2_5": (Verdict.CONDITIONAL, {"distance_convex": 4e-5, "distance_valleys": 0.31}),
    "theorem_2_6": (Verdict.CONDITIONAL, {"log10_bound": 61.25, "log10_largest_ratio": 1.4}),
    "theorem_2_7": (Verdict.FAILS, {"largest_loss": -0.42}),
    "definition_6": (Verdict.CONDITIONAL, {"growth": 2345.6}),
    "definition_1": (Verdict.DEPARTS, {"largest_deviation": 0.81}),
    "equation_23": (Verdict.FAILS, {"share_of_epochs": 0.0}),
    "equation_30": (Verdict.CONDITIONAL, {"log10_formula": 12.5}),
    "corollary_1": (Verdict.CONDITIONAL, {"smallest_margin": 0.31}),
    "definition_7": (Verdict.UNDECIDED, {"difference": 0.21}),
}
LAYERS = ("image", "embedding", "encoder 1", "encoder 2", "encoder 3", "decoder 2", "decoder 1")
RISE = np.array([0.55, 0.5, 0.9, 1.3, 1.75, 1.5, 1.85])


def make_audit(top: Path, model: str, groups: tuple[str, ...] | None = None) -> None:
    """Write an audit of a network of two streams, or of one that only `groups` of statements apply to."""
    folder = top / "audit" / model
    folder.mkdir(parents=True)
    findings = [finding(key, groups is None or STATEMENTS[key].group in groups) for key in STATEMENTS]
    content = {"model": model, "seed": 0, "findings": findings}
    (folder / "findings.json").write_text(json.dumps(content))
    tables = {"balancing": balancing, "generalisation": generalisation, "robustness": robustness}
    if groups is None:
        tables |= {"attention": attention, "cost": cost, "approximation": approximation, "flow": flow}
        tables |= {"lipschitz": lipschitz}
    for group, make in tables.items():
        if groups is None or group in groups:
            for name, table in make(np.random.default_rng(0)).items():
                table.to_csv(folder / f"{name}.csv", index=False)


def finding(key: str, applies: bool) -> dict[str, object]:
    verdict, numbers = VERDICTS.get(key, (Verdict.HOLDS, {"largest_deviation": 3.1e-7}))
    if not applies:
        return {"key": key, "verdict": "not applicable", "why": "The network has one stream only."}
    why = f"Measured on 5 test pairs, the deciding figure of this statement is {next(iter(numbers.values())):.3g}."
    against = {
        "breaks": "The proof drops a factor of c² inside the softmax, which changes the weights of attention.",
        "counterexample": "Features of the first test pair times 2: the output differs from twice the output by 37 %.",
    }
    extra = against if verdict in AGAINST_THE_PAPER else {"breaks": "", "counterexample": ""}
    return {"key": key, "verdict": str(verdict), "why": why, "numbers": numbers, **extra}


def attention(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    rows = []
    kinds = [("random", *kind, "random") for kind in product("ba", ("dot", "cosine"))]
    kinds += [("trained", "b", "dot", f"encoder {level}") for level in (1, 2, 3)]
    for network, values, similarity, layer in kinds:
        scaling = 0.3 if similarity == "dot" else 2e-16
        for kind, size in (("asymmetry", 0.6), ("scaling", scaling), ("permutation", 3e-16)):
            rows.append((network, values, similarity, kind, layer, size * rng.lognormal(0, 0.4)))
    columns = ["network", "values", "similarity", "property", "layer", "deviation"]
    return {"attention_properties": pd.DataFrame(rows, columns=columns)}


def cost(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    rows, sizes = [], [(n, 32) for n in (64, 216, 512, 1000, 1728)] + [(512, c) for c in (16, 64, 128)]
    for kind, (tokens, channels) in product(("full", "windowed"), sizes):
        flops = 4 * tokens * (tokens if kind == "full" else 64) * channels
        rows.append((kind, tokens, channels, flops, 4e-5 + flops / 4e10 * rng.lognormal(0, 0.1)))
    fits = []
    for kind, variable, quantity in product(
        ("full", "windowed"), ("tokens", "channels"), ("operations", "seconds")
    ):
        power = 2.0 if kind == "full" and variable == "tokens" else 1.0
        off = 0.0 if quantity == "operations" else 0.15
        fits.append((kind, variable, quantity, power - off, power - 2 * off, power))
    columns = ["kind", "variable", "quantity", "exponent", "low", "high"]
    costs = pd.DataFrame(rows, columns=["kind", "num_tokens", "channels", "flops", "seconds"])
    return {"attention_cost": costs, "attention_cost_fits": pd.DataFrame(fits, columns=columns)}


def approximation(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    rows = [
        (function, channels, depth, start / channels**0.5 / depth**0.4 * rng.lognormal(0, 0.1))
        for (function, start), channels, depth in product(
            (("sum of both", 0.3), ("product", 0.7), ("local mean of CT times MR", 1.2)),
            (4, 8, 16),
            (1, 2),
        )
    ]
    step = np.arange(0, 301, 10)
    overfitting = pd.DataFrame({"step": step, "dice": 0.995 * (1 - np.exp(-step / 50))})
    columns = ["function", "channels", "depth", "error"]
    return {"approximation": pd.DataFrame(rows, columns=columns), "overfitting": overfitting}


def flow(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    rows, flows = [], []
    for state, estimator in product(("initial", "trained"), ("copula", "knn")):
        curve = (RISE if state == "trained" else 0.5 + 0.1 * np.arange(7)) * (
            1 if estimator == "copula" else 0.85
        )
        for pairs, layer in product(("registered", "shuffled"), range(7)):
            value = curve[layer] * (1 if pairs == "registered" else 0.08 + 0.1 * layer) + rng.normal(0, 0.02)
            rows.append((state, pairs, layer, LAYERS[layer], estimator, value, value - 0.12, value + 0.12))
        for layer in range(1, 7):
            value = curve[layer] - curve[layer - 1] + rng.normal(0, 0.02)
            flows.append((state, layer, LAYERS[layer], estimator, value, value - 0.15, value + 0.15))
    ends = ["low", "high"]
    information = pd.DataFrame(
        rows, columns=["state", "pairs", "layer", "name", "estimator", "information", *ends]
    )
    cmif = pd.DataFrame(flows, columns=["state", "layer", "name", "estimator", "cmif", *ends])
    entropy = pd.DataFrame(
        {"layer": range(7), "name": LAYERS, "information": 0.6 * RISE, "entropy_ct": 2.05, "entropy_mr": 2.0}
    )
    return {"information": information, "flow": cmif, "entropy": entropy}


def balancing(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    step = np.arange(0, 201, 5)
    convex = [
        pd.DataFrame({"mode": mode, "step": step, "distance": np.exp(-step * rate) + 1e-7})
        for mode, rate in (("paper", 0.05), ("harder", 0.06), ("uniform", 0.055))
    ]
    epoch = np.arange(1, 29)
    weights = []
    for mode, sign in (("paper", 1), ("harder", -1), ("uniform", 0)):
        dice = 0.5 + sign * 0.2 * np.exp(-epoch / 10)
        for objective, weight in (("dice", dice), ("ce", 1 - dice)):
            columns = {"mode": mode, "epoch": epoch, "objective": objective, "weight": weight}
            weights.append(pd.DataFrame(columns))
    gradients = pd.DataFrame(
        {"mode": ["paper", "harder", "uniform"], "weighted_norm": [0.31, 0.36, 0.33], "smallest_norm": 0.28}
    )
    return {
        "balancing_convex": pd.concat(convex), "balancing_weights": pd.concat(weights),
        "balancing_gradients": gradients,
    }  # fmt: skip


def generalisation(_: np.random.Generator) -> dict[str, pd.DataFrame]:
    terms = {"term": ["complexity", "bound", "gap"], "value": [0.9, 3.4, 0.021]}
    return {"generalisation": pd.DataFrame(terms)}


def lipschitz(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    parts = ("embedding", *LAYERS[2:], "fusion", "head")
    bounds = pd.DataFrame({"part": parts, "log10_bound": [3, 12, 24, 37, 48, 58, 60, 61.25]})
    iterations = [
        (f"ct_100{case}+mr_1004", i, 25 * (1 - np.exp(-(i + 1) / 2)) * (1 + 0.1 * case))
        for case, i in product((1, 2), range(8))
    ]
    scale = np.array([1, 2, 5, 10, 20, 50, 100])
    growth = pd.DataFrame({"scale": scale, "sensitivity": 0.4 * scale.astype(float) ** 2})
    ratios = pd.DataFrame(iterations, columns=["case", "iteration", "ratio"])
    return {"sensitivity_bounds": bounds, "power_iteration": ratios, "attention_growth": growth}


def robustness(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    rows = []
    kinds = (
        ("noise", 3.6, 0.01),
        ("bias field", 12, 0.02),
        ("blur", 9, 0.03),
        ("motion", 10, 0.05),
        ("attack", 3.6, 0.34),
    )
    for number in range(5):
        case = f"ct_100{number + 1}+mr_100{number + 4}"
        rows.append(("none", 0, case, 0.0, 0.0, 0.85 - 0.01 * number))
        for (kind, size, drop), level in product(kinds, (1, 2, 3)):
            if kind == "attack" and (level > 1 or number > 2):
                continue
            change = size * 2.0 ** (level - 1) * rng.lognormal(0, 0.05)
            dice = 0.85 - 0.01 * number - drop * level + rng.normal(0, 0.005)
            rows.append((kind, level, case, change, change * 5 * drop * 20, dice))
    columns = ["disturbance", "level", "case", "input_change", "output_change", "dice"]
    return {"robustness": pd.DataFrame(rows, columns=columns)}
