"""Check Swin blocks and deformable operators against their equations: Definitions 1 and 3, Theorem 2.2."""

import copy
import math
from math import prod

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from crossmodalnet.networks.crossmodalnet.blocks import SwinBlock
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, StatementFinding, Verdict, judge_equation, not_applicable
from crossmodalnet.theory.statements import STATEMENTS
from crossmodalnet.theory.subject import AuditSubject, capture_inputs, relative_deviation

NUM_TOKENS = 24
NUM_CHANNELS = 4
TOLERANCE = 1e-4
OPERATOR_KEYS = ("definition_3", "theorem_2_2")


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Check Swin blocks and deformable operators of the trained network on a test case."""
    if subject.config is None:
        keys = ("definition_1", *OPERATOR_KEYS)
        return CheckOutcome([not_applicable(key, "This network has other blocks.") for key in keys])
    image, rng = subject.images(subject.test[:1]), np.random.default_rng(config.seed)
    blocks = capture_inputs(subject.network, image, SwinBlock)
    if blocks:
        deviation = max(block_deviation(block, inputs[0], rng) for block, inputs in blocks.values())
        residual = subject.config.residual
        options = [f"residual: {residual}"] * (residual != "paper")
        what = "The trained network's Swin blocks"
        findings = [judge_equation("definition_1", what, "Eq. 2", deviation, TOLERANCE, options)]
    else:
        findings = [not_applicable("definition_1", "This network has no Swin blocks.")]
    operators = capture_inputs(subject.network, image, DeformableOperator)
    if not operators:
        why = "This network has no deformable operator."
        return CheckOutcome([*findings, *(not_applicable(key, why) for key in OPERATOR_KEYS)])
    deviation = max(operator_deviation(operator, inputs[0], rng) for operator, inputs in operators.values())
    largest = max(float(operator.offsets(i[0]).detach().abs().max()) for operator, i in operators.values())
    findings.append(judge_operator(deviation, largest, subject.config.max_offset))
    findings.append(judge_capacity([count_offsets(operator) for operator, _ in operators.values()]))
    return CheckOutcome(findings)


def block_deviation(block: SwinBlock, f: Tensor, rng: np.random.Generator) -> float:
    """Compare a block's output for `(1, d, h, w, c)` with Eq. 2, token by token, at random positions."""
    block, f = copy.deepcopy(block).double().requires_grad_(False), f[:1].double()
    positions = [tuple(int(rng.integers(n)) for n in f.shape[1:4]) for _ in range(NUM_TOKENS)]
    expected = torch.stack([equation_2(block, f[0], position) for position in positions])
    out = block(f)[0]
    return relative_deviation(torch.stack([out[position] for position in positions]), expected)


def equation_2(block: SwinBlock, f: Tensor, position: tuple[int, ...]) -> Tensor:
    """Compute Eq. 2 for one token of `(d, h, w, c)` from its shifted window: `MLP(LN(MSA(LN(F)) + F)) + F`, `(c,)`."""
    attention = block.attention
    cell = [_cell(p, n, w, s) for p, n, w, s in zip(position, f.shape[:3], block.window, block.shift, strict=True)]
    grid = torch.meshgrid(*(torch.arange(a, b, device=f.device) for a, b in cell), indexing="ij")
    others = torch.stack(grid, dim=-1).reshape(-1, 3)
    normed = block.norm1(f[tuple(others.T)])
    q, k, v = attention.qkv(block.norm1(f[position])), attention.qkv(normed), attention.qkv(normed)
    c = f.shape[-1]
    q, k, v = q[:c], k[:, c : 2 * c], v[:, 2 * c :]
    window = torch.tensor(block.window, device=f.device)
    steps = torch.tensor(position, device=f.device) - others + window - 1
    index = (steps[:, 0] * (2 * window[1] - 1) + steps[:, 1]) * (2 * window[2] - 1) + steps[:, 2]
    heads = []
    for head, rows in enumerate(torch.arange(c, device=f.device).chunk(attention.num_heads)):
        scores = k[:, rows] @ q[rows] / math.sqrt(len(rows)) + attention.position_bias[index, head]
        heads.append(torch.softmax(scores, dim=0) @ v[:, rows])
    attended = attention.proj(torch.cat(heads))
    return block.mlp(block.norm2(attended + f[position])) + f[position]


def _cell(p: int, n: int, window: int, shift: int) -> tuple[int, int]:
    """Find the first token and the end of the window around token `p` of an axis of `n`."""
    shift = 0 if n <= window else shift
    first = (p - shift) // window * window + shift
    return max(first, 0), min(first + window, n)


def operator_deviation(operator: DeformableOperator, f: Tensor, rng: np.random.Generator) -> float:
    """Compare an operator's output for `(1, d, h, w, c)` with Eq. 7 by SciPy's interpolation, in some channels."""
    with torch.no_grad():
        offsets = operator.offsets(f[:1])[0].double().cpu().numpy()  # (d, h, w, K, 3)
        channels = rng.choice(f.shape[-1], min(NUM_CHANNELS, f.shape[-1]), replace=False)
        actual = operator(f[:1])[0].double().cpu()[..., channels]
    here = np.stack(np.meshgrid(*(np.arange(n) for n in f.shape[1:4]), indexing="ij"), axis=-1)
    weights = operator.weights.detach().double().cpu().numpy()
    features = f[0].double().cpu().numpy()
    expected = np.zeros(actual.shape)
    for position, channel in enumerate(channels):
        for point, weight in enumerate(weights):
            places = np.moveaxis(here + offsets[..., point, :], -1, 0)
            sampled = ndimage.map_coordinates(features[..., channel], places, order=1, mode="nearest")
            expected[..., position] += weight * sampled
    return relative_deviation(actual, torch.from_numpy(expected))


def count_offsets(operator: DeformableOperator) -> tuple[int, int]:
    """Count the offset parameters (0 if predicted) and those of Theorem 2.2: 3 K D H W."""
    counted = 0 if operator.raw_offsets is None else operator.raw_offsets.numel()
    return counted, 3 * operator.num_points * prod(operator.size)


def judge_operator(deviation: float, largest_offset: float, max_offset: float) -> StatementFinding:
    """Judge Definition 3 by the largest relative deviation from Eq. 7 and the largest offset, tokens."""
    numbers = {"deviation": deviation, "largest_offset": largest_offset}
    if deviation <= TOLERANCE and largest_offset <= max_offset:
        why = (
            f"The trained network's operators are Eq. 7 to {deviation:.1e}; their offsets reach "
            f"{largest_offset:.2f} tokens of at most {max_offset:g}."
        )
        return StatementFinding("definition_3", Verdict.HOLDS, why, numbers)
    why = f"An operator differs from Eq. 7 by {deviation:.1e}, its offsets reach {largest_offset:.2f} tokens: a defect."
    example = f"Deviation {deviation:.3g}, largest offset {largest_offset:.3g} of {max_offset:g}."
    return StatementFinding("definition_3", Verdict.FAILS, why, numbers, "The code, not the paper.", example)


def judge_capacity(counts: list[tuple[int, int]]) -> StatementFinding:
    """Judge Theorem 2.2 by the offset parameters of each operator, counted and expected."""
    key = "theorem_2_2"
    counted, expected = (sum(column) for column in zip(*counts, strict=True))
    numbers = {"counted": float(counted), "expected": float(expected)}
    if all(a == b for a, b in counts):
        why = f"The {len(counts)} operators have {counted:,} offset parameters: three per sampling point and location."
        return StatementFinding(key, Verdict.HOLDS, why, numbers)
    if counted == 0:
        why = "With offsets: predicted no location has parameters of its own; "
        return StatementFinding(key, Verdict.DEPARTS, f"{why}the paper asks for {expected:,}.", numbers)
    why = f"The operators have {counted} offset parameters; the paper asks for {expected}."
    example = f"{counted} against {expected}."
    return StatementFinding(key, Verdict.FAILS, why, numbers, STATEMENTS[key].breaks, example)
