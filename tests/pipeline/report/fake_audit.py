"""Made-up findings and tables of stage `audit`: well-formed, of plausible sizes."""

from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodalnet.io.outputs import write_json
from crossmodalnet.theory.findings import AGAINST_THE_PAPER, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.statements import STATEMENTS

# Verdicts other than `holds`, with figures.
VERDICTS = {
    "theorem_2_1_2": (Verdict.FAILS, {"largest_deviation": 0.3712, "scale": 2.0}),
    "theorem_2_4": (Verdict.FAILS, {"largest_loss": -0.42, "layers_that_lose": 3}),
    "definition_6": (Verdict.CONDITIONAL, {"growth": 2345.6}),
    "definition_1": (Verdict.DEPARTS, {"largest_deviation": 0.81}),
    "definition_7": (Verdict.UNDECIDED, {"difference": 0.21}),
}
LAYERS = ("image", "embedding", "encoder 1", "encoder 2", "encoder 3", "decoder 2", "decoder 1")
RISE = np.array([0.55, 0.5, 0.9, 1.3, 1.75, 1.5, 1.85])


def make_audit(top: Path, model: str, groups: tuple[str, ...] | None = None) -> None:
    """Write an audit of a network of two streams, or of one that only `groups` of statements apply to."""
    folder = top / "audit" / model
    findings = [asdict(finding(key, groups is None or STATEMENTS[key].group in groups)) for key in STATEMENTS]
    write_json(folder / "findings.json", {"model": model, "seed": 0, "findings": findings})
    for make in (attention, cost, approximation, flow, balancing, generalisation, lipschitz, robustness):
        if groups is None or make.__name__ in groups:
            for name, table in make().items():
                table.to_csv(folder / f"{name}.csv", index=False)


def finding(key: str, applies: bool) -> StatementFinding:
    if not applies:
        return not_applicable(key, "The network has one stream only.")
    verdict, numbers = VERDICTS.get(key, (Verdict.HOLDS, {"largest_deviation": 3.1e-7}))
    why = f"Measured on 5 test pairs, the deciding figure of this statement is {next(iter(numbers.values())):.3g}."
    breaks = "The proof drops a factor of c² inside the softmax, which changes the weights of attention."
    example = "Features of the first test pair times 2: the output differs from twice the output by 37 %."
    against = (breaks, example) if verdict in AGAINST_THE_PAPER else ()
    return StatementFinding(key, verdict, why, numbers, *against)


def attention() -> dict[str, pd.DataFrame]:
    kinds = [("random", *kind) for kind in product("ba", ("dot", "cosine"))] + 3 * [("trained", "b", "dot")]
    sizes = {"asymmetry": 0.6, "scaling": 0.3, "permutation": 3e-16}
    rows = [(*kind, name, size) for kind in kinds for name, size in sizes.items()]
    columns = ["network", "values", "similarity", "property", "deviation"]
    return {"attention_properties": pd.DataFrame(rows, columns=columns)}


def cost() -> dict[str, pd.DataFrame]:
    kinds, sizes = ("full", "windowed"), [(n, 32) for n in (64, 216, 512, 1000, 1728)]
    sizes += [(512, channels) for channels in (16, 64, 128)]
    rows = [(kind, n, c, 4 * n * c, 1e-8 * n * c) for kind, (n, c) in product(kinds, sizes)]
    costs = pd.DataFrame(rows, columns=["kind", "num_tokens", "channels", "flops", "seconds"])
    fits = product(kinds, ("tokens", "channels"), ("operations", "seconds"), [1.5])
    fits = pd.DataFrame(fits, columns=["kind", "variable", "quantity", "exponent"])
    return {"attention_cost": costs, "attention_cost_fits": fits}


def approximation() -> dict[str, pd.DataFrame]:
    rows = product(("sum of both", "product", "local mean of CT times MR"), (4, 8, 16), (1, 2), [0.7])
    errors = pd.DataFrame(rows, columns=["function", "channels", "depth", "error"])
    overfitting = pd.DataFrame({"step": [0, 10, 20], "dice": [0.1, 0.8, 0.9]})
    return {"approximation": errors, "overfitting": overfitting}


def flow() -> dict[str, pd.DataFrame]:
    layers = pd.DataFrame({"layer": range(7), "name": LAYERS, "information": RISE, "cmif": 0.1})
    layers = layers.assign(low=RISE - 0.12, high=RISE + 0.12)
    kinds = list(product(("initial", "trained"), ("copula", "knn")))
    tables = [layers.assign(state=state, estimator=estimator) for state, estimator in kinds]
    information = [table.assign(pairs=pairs) for table in tables for pairs in ("registered", "shuffled")]
    entropy = layers.assign(entropy_ct=2.05, entropy_mr=2.0)
    flows = pd.concat(tables).query("layer > 0").assign(low=-0.05, high=0.25)
    return {"information": pd.concat(information), "flow": flows, "entropy": entropy}


def balancing() -> dict[str, pd.DataFrame]:
    modes = ("paper", "harder", "uniform")
    convex = pd.DataFrame(product(modes, (0, 5, 10), [0.1]), columns=["mode", "step", "distance"])
    columns = ["mode", "epoch", "objective", "weight"]
    weights = pd.DataFrame(product(modes, (1, 2, 3), ("dice", "ce"), [0.5]), columns=columns)
    gradients = pd.DataFrame({"mode": modes, "weighted_norm": [0.31, 0.36, 0.33], "smallest_norm": 0.28})
    return {"balancing_convex": convex, "balancing_weights": weights, "balancing_gradients": gradients}


def generalisation() -> dict[str, pd.DataFrame]:
    terms = {"term": ["complexity", "bound", "gap"], "value": [0.9, 3.4, -0.021]}
    return {"generalisation": pd.DataFrame(terms)}


def lipschitz() -> dict[str, pd.DataFrame]:
    bounds = pd.DataFrame({"part": LAYERS, "log10_bound": [3, 12, 24, 37, 48, 58, 61.25]})
    scale = np.array([1, 2, 5, 10, 20, 50, 100])
    growth = pd.DataFrame({"scale": scale, "sensitivity": 0.4 * scale.astype(float) ** 2})
    ratios = pd.DataFrame({"case": "ct_1001+mr_1004", "iteration": range(8), "ratio": 25.0})
    return {"sensitivity_bounds": bounds, "power_iteration": ratios, "attention_growth": growth}


def robustness() -> dict[str, pd.DataFrame]:
    rows = []
    for case in ("ct_1001+mr_1004", "ct_1002+mr_1005"):
        rows.append(("none", 0, case, 0.0, 0.85))
        kinds = product(("noise", "bias field", "blur", "motion"), (1, 2, 3))
        rows += [(kind, level, case, 3.0 * level, 0.85 - 0.02 * level) for kind, level in kinds]
        rows.append(("attack", 1, case, 3.6, 0.5))
    columns = ["disturbance", "level", "case", "input_change", "dice"]
    return {"robustness": pd.DataFrame(rows, columns=columns)}
