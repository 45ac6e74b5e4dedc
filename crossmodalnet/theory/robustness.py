"""Robustness to disturbed images (Corollary 2): how far the logits and the overlap move, beside the bound."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.theory.bound_network import upper_bound
from crossmodalnet.theory.disturbances import DISTURBANCES, attack
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.lipschitz_bounds import log
from crossmodalnet.theory.scoring import mean_dice
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject

# Levels 1 to 3. Noise is in units of the attack's size, so that level 1 is as large as the attack.
STRENGTHS: Mapping[str, tuple[float, float, float]] = MappingProxyType({
    "noise": (1.0, 3.0, 10.0),  # standard deviation, over that of noise as large as the attack
    "bias field": (0.1, 0.3, 0.6),  # largest coefficient
    "blur": (0.5, 1.0, 2.0),  # sigma, voxels
    "motion": (0.05, 0.15, 0.3),  # share of the lines
})  # fmt: skip
NOISE_STD = 0.01
_ROUNDING = -8.0  # decimal logarithm of a change that is lost in the rounding of a voxel
_MOST_ATTACKED = 2  # a step costs as much as a training step


def check(subject: AuditSubject, settings: AuditSettings) -> CheckOutcome:
    """Disturb test pairs at random and on purpose, and compare changes of the logits with the bound."""
    network = subject.network
    if not isinstance(network, CrossModalNet):
        why = "Only the parts of CrossModalNet have known constants."
        return CheckOutcome([not_applicable("corollary_2", why)])
    rows = [
        row
        for i, case in enumerate(subject.test[: settings.num_cases])
        for row in _measure(network, case, settings, attacked=i < _MOST_ATTACKED)
    ]
    finding = judge(rows, upper_bound(network, subject.patch_size), settings.attack_radius * NOISE_STD)
    return CheckOutcome([finding], {"robustness": rows})


def judge(rows: Sequence[Row], log10_bound: float, attack_std: float) -> StatementFinding:
    """Say whether any change exceeds the bound.

    Args:
        rows: rows of the table `robustness`.
        log10_bound: decimal logarithm of the upper bound on the Lipschitz constant.
        attack_std: standard deviation of noise that is as large as the attack.
    """
    changed = [row for row in rows if float(row["input_change"]) > 0]
    ratio, worst = max(((_ratio(row), row) for row in changed), key=lambda item: item[0])
    log10_ratio = log(ratio) / math.log(10)
    attacked = {row["case"] for row in rows if row["disturbance"] == "attack"}
    clean, noisy, hit = (
        _mean_dice(rows, key, attacked) for key in (("none", 0), ("noise", 1), ("attack", 1))
    )
    numbers = {
        "log10_bound": log10_bound,
        "log10_largest_ratio": log10_ratio,
        "dice_clean": clean,
        "dice_noise": noisy,
        "dice_attack": hit,
    }
    excluded = log(max(float(row["output_change"]) for row in changed)) / math.log(10) - log10_bound
    remark = (
        ", below the rounding of one voxel, so that it says nothing in practice"
        if excluded < _ROUNDING
        else ""
    )
    where = f"{worst['disturbance']} at level {worst['level']:.0f} on {worst['case']}"
    if log10_ratio > log10_bound:
        return StatementFinding(
            "corollary_2",
            Verdict.FAILS,
            f"The output changed by {ratio:.3g} times the input under {where}, beyond the bound 10^{log10_bound:.1f}.",
            numbers,
            breaks="The constant of Theorem 2.6 does not bound the network.",
            counterexample=f"The images under {where}: input changed by {worst['input_change']:.3g}, output by "
            f"{worst['output_change']:.3g}.",
        )
    return StatementFinding(
        "corollary_2",
        Verdict.HOLDS,
        f"No disturbance changed the output by more than {ratio:.3g} times the input, {log10_bound - log10_ratio:.0f} "
        f"orders of magnitude below the bound of 10^{log10_bound:.0f}, which excludes the largest change seen only for "
        f"inputs less than 10^{excluded:.0f} apart{remark}. Noise of standard deviation {attack_std:g} takes the Dice "
        f"score from {clean:.3f} to {noisy:.3f}, an attack of the same size to {hit:.3f}.",
        numbers,
    )


def _measure(
    network: nn.Module, case: LabelledCase, settings: AuditSettings, *, attacked: bool
) -> Iterator[Row]:
    """Disturb one case in every way, and yield a row of the table for each."""
    device = next(network.parameters()).device
    before = _logits(network, case.image.to(device))

    def row(name: str, level: int, image: Tensor) -> Row:
        after = _logits(network, image.to(device))
        return {
            "disturbance": name,
            "level": float(level),
            "case": case.name,
            "input_change": float((image.cpu() - case.image).norm()),
            "output_change": float((after - before).norm()),
            "dice": mean_dice(after[0].argmax(0).cpu(), case.label),
        }

    yield row("none", 0, case.image)
    unit = settings.attack_radius * NOISE_STD
    for name, disturb in DISTURBANCES.items():
        for level, strength in enumerate(STRENGTHS[name], 1):
            amount = strength * unit if name == "noise" else strength
            yield row(name, level, disturb(case.image, amount, settings.seed))
    if attacked:
        image, label = case.image[None].to(device), case.label[None].to(device)
        radius = unit * math.sqrt(case.image.numel())
        yield row("attack", 1, attack(network, image, label, radius=radius, steps=settings.attack_steps)[0])


@torch.no_grad()
def _logits(network: nn.Module, image: Tensor) -> Tensor:
    logits: Tensor = network(image[None])
    return logits.float()


def _ratio(row: Row) -> float:
    return float(row["output_change"]) / float(row["input_change"])


def _mean_dice(rows: Sequence[Row], kind: tuple[str, int], cases: set[str | float]) -> float:
    """Average over the attacked cases, so that the three kinds are of the same images."""
    name, level = kind
    own = [row for row in rows if row["disturbance"] == name and row["level"] == level]
    chosen = [row for row in own if row["case"] in cases]
    return float(np.mean([float(row["dice"]) for row in chosen]))
