"""Lemma 1: how the cost of cross attention grows with tokens and channels."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from crossmodalnet.networks.common.counts import count_flops
from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject, own_generator

TOKENS = (512, 1024, 2048, 4096)
CHANNELS = (16, 32, 64, 128)
# Held while the other one varies; many tokens and few channels, as the lemma assumes (d << N).
FIXED_TOKENS, FIXED_CHANNELS = 2048, 32
WINDOW_TOKENS = 64
REPETITIONS = 5
TOLERANCE = 0.1


@dataclass(frozen=True)
class PowerLaw:
    """A power law `y ~ x^exponent`, fitted in logarithms, with the 95 % interval of its exponent."""

    exponent: float
    low: float
    high: float


def check(subject: AuditSubject, settings: AuditSettings) -> CheckOutcome:
    """Count and time cross attention as this network has it, over all tokens and in windows."""
    if not subject.crosses or subject.config is None:
        return CheckOutcome([not_applicable("lemma_1", "This network has no cross attention.")])
    rows: list[Row] = []
    with own_generator(settings.seed):
        for kind in ("full", "windowed"):
            sizes = [(n, FIXED_CHANNELS) for n in TOKENS] + [(FIXED_TOKENS, c) for c in CHANNELS]
            for num_tokens, channels in dict.fromkeys(sizes):
                attention = CrossAttention(
                    channels, 1, values=subject.config.values, similarity=subject.config.similarity
                )
                rows.append(_row(kind, attention.to(subject.device), num_tokens, channels))
    fits = fit_rows(rows)
    exponents = {
        (fit["kind"], fit["variable"]): float(fit["exponent"])
        for fit in fits
        if fit["quantity"] == "operations"
    }
    finding = judge(
        exponents["full", "tokens"], exponents["full", "channels"], exponents["windowed", "tokens"]
    )
    return CheckOutcome([finding], {"attention_cost": rows, "attention_cost_fits": fits})


def fit_power(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit an exponent by least squares in logarithms; the interval is Student's."""
    line = stats.linregress(np.log(x), np.log(y))
    half = float(stats.t.ppf(0.975, len(x) - 2) * line.stderr)
    return PowerLaw(float(line.slope), float(line.slope) - half, float(line.slope) + half)


def fit_rows(rows: Sequence[Row]) -> list[Row]:
    """Fit operations and seconds over tokens and over channels; rows of table `attention_cost_fits`."""
    fits: list[Row] = []
    for kind in ("full", "windowed"):
        for variable, column, held, value in (
            ("tokens", "num_tokens", "channels", FIXED_CHANNELS),
            ("channels", "channels", "num_tokens", FIXED_TOKENS),
        ):
            chosen = [row for row in rows if row["kind"] == kind and row[held] == value]
            x = [float(row[column]) for row in chosen]
            for quantity, name in (("operations", "flops"), ("seconds", "seconds")):
                fit = fit_power(x, [float(row[name]) for row in chosen])
                kinds = {"kind": kind, "variable": variable, "quantity": quantity}
                fits.append({**kinds, "exponent": fit.exponent, "low": fit.low, "high": fit.high})
    return fits


def judge(tokens: float, channels: float, windowed: float) -> StatementFinding:
    """Give the verdict on Lemma 1 from exponents of the counted operations.

    Args:
        tokens: exponent of the number of tokens, full attention.
        channels: exponent of the channels, full attention.
        windowed: exponent of the number of tokens, attention in windows; reported beside the others.
    """
    numbers = {"tokens_exponent": tokens, "channels_exponent": channels, "windowed_tokens_exponent": windowed}
    said = f"Operations grow with tokens to the power {tokens:.2f}, with channels to the power {channels:.2f}"
    if abs(tokens - 2) <= TOLERANCE and abs(channels - 1) <= TOLERANCE:
        why = f"{said}; in windows, here of {WINDOW_TOKENS} tokens, only {windowed:.2f}."
        return StatementFinding("lemma_1", Verdict.HOLDS, why, numbers)
    broken = "The count of Eq. 11 does not describe this attention."
    return StatementFinding("lemma_1", Verdict.FAILS, f"{said}, not 2 and 1.", numbers, broken, said + ".")


def _row(kind: str, attention: CrossAttention, num_tokens: int, channels: int) -> Row:
    n = num_tokens if kind == "full" else WINDOW_TOKENS
    streams = torch.randn(2, num_tokens // n, n, channels).to(attention.query.weight.device)
    flops = count_flops(attention, *streams)
    return {
        "kind": kind, "num_tokens": num_tokens, "channels": channels, "flops": flops,
        "seconds": _seconds(attention, streams),
    }  # fmt: skip


@torch.no_grad()
def _seconds(attention: CrossAttention, streams: Tensor) -> float:
    """Median time of a call; a first one is not counted."""
    times = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        attention(*streams)
        if streams.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))
