"""Check Lemma 1, the growth of the cost of cross attention with tokens and channels."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from crossmodalnet.networks.common.parameters import count_flops
from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.statements import STATEMENTS
from crossmodalnet.theory.subject import AuditSubject, isolated_seed

TOKENS = (512, 1024, 2048, 4096)
CHANNELS = (16, 32, 64, 128)
FIXED_TOKENS, FIXED_CHANNELS = 2048, 32  # the lemma assumes d << N
WINDOW_TOKENS = 64
REPETITIONS = 5
TOLERANCE = 0.1


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Count and time cross attention with this network's options, over all tokens and in windows."""
    if not subject.crosses or subject.config is None:
        return CheckOutcome([not_applicable("lemma_1", "This network has no cross attention.")])
    values, similarity = subject.config.values, subject.config.similarity
    sizes = dict.fromkeys([(n, FIXED_CHANNELS) for n in TOKENS] + [(FIXED_TOKENS, c) for c in CHANNELS])
    rows: list[Row] = []
    with isolated_seed(config.seed):
        for kind in ("full", "windowed"):
            for num_tokens, channels in sizes:
                attention = CrossAttention(channels, 1, values=values, similarity=similarity)
                rows.append(_row(kind, attention.to(subject.device), num_tokens, channels))
    fits = fit_rows(rows)
    # Exponents of operations and seconds over tokens and channels, of full attention; then of windowed attention.
    by_tokens, _, by_channels, _, windowed, *_ = (float(fit["exponent"]) for fit in fits)
    tables = {"attention_cost": rows, "attention_cost_fits": fits}
    return CheckOutcome([judge(by_tokens, by_channels, windowed)], tables)


def fit_power(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Fit the exponent of `y ~ x^exponent` in logarithms; return it with its 95 % interval by Student's t."""
    line = stats.linregress(np.log(x), np.log(y))
    half = float(stats.t.ppf(0.975, len(x) - 2) * line.stderr)
    return float(line.slope), float(line.slope) - half, float(line.slope) + half


def fit_rows(rows: Sequence[Row]) -> list[Row]:
    """Fit operations and seconds over tokens and over channels; rows of table `attention_cost_fits`."""
    fits: list[Row] = []
    for kind in ("full", "windowed"):
        for variable, column, fixed, value in (
            ("tokens", "num_tokens", "channels", FIXED_CHANNELS),
            ("channels", "channels", "num_tokens", FIXED_TOKENS),
        ):
            chosen = [row for row in rows if row["kind"] == kind and row[fixed] == value]
            x = [float(row[column]) for row in chosen]
            for quantity, name in (("operations", "flops"), ("seconds", "seconds")):
                exponent, low, high = fit_power(x, [float(row[name]) for row in chosen])
                fit: Row = {"kind": kind, "variable": variable, "quantity": quantity}
                fits.append({**fit, "exponent": exponent, "low": low, "high": high})
    return fits


def judge(tokens: float, channels: float, windowed: float) -> StatementFinding:
    """Judge Lemma 1 by the exponents of the counted operations; that of windowed attention is only reported."""
    numbers = {"tokens_exponent": tokens, "channels_exponent": channels, "windowed_tokens_exponent": windowed}
    growth = f"Operations grow with tokens to the power {tokens:.2f}, with channels to the power {channels:.2f}"
    if abs(tokens - 2) <= TOLERANCE and abs(channels - 1) <= TOLERANCE:
        why = f"{growth}; in windows, here of {WINDOW_TOKENS} tokens, only {windowed:.2f}."
        return StatementFinding("lemma_1", Verdict.HOLDS, why, numbers)
    why, breaks = f"{growth}, not 2 and 1.", STATEMENTS["lemma_1"].breaks
    return StatementFinding("lemma_1", Verdict.FAILS, why, numbers, breaks, f"{growth}.")


def _row(kind: str, attention: CrossAttention, num_tokens: int, channels: int) -> Row:
    n = num_tokens if kind == "full" else WINDOW_TOKENS
    streams = torch.randn(2, num_tokens // n, n, channels).to(attention.query.weight.device)
    size: Row = {"kind": kind, "num_tokens": num_tokens, "channels": channels}
    return {**size, "flops": count_flops(attention, *streams), "seconds": _seconds(attention, streams)}


@torch.no_grad()
def _seconds(attention: CrossAttention, streams: Tensor) -> float:
    """Measure the median time of a call, after one for warm-up."""
    times = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        attention(*streams)
        if streams.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))
