"""Corollary 2: robustness to disturbed images, beside the bound of Theorem 2.6."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from monai.transforms import GaussianSmooth, RandBiasField, RandGaussianNoise
from torch import Tensor, nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.network_bounds import upper_bound
from crossmodalnet.theory.part_bounds import log
from crossmodalnet.theory.sensitivity import pull_back
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject, mean_dice
from crossmodalnet.training.segmentation import cross_entropy

Disturbance = Callable[[Tensor, float, int], Tensor]

_MR = 1
_SHIFT = 3  # voxels that the patient has moved in some of the acquired lines
_STEP = 2.5  # of the ascent, over radius / steps: reaches the sphere and can turn there
_TINY = 1e-30


def noise(image: Tensor, std: float, seed: int) -> Tensor:
    """Add Gaussian noise to both images.

    Args:
        image: (2, d, h, w).
        std: standard deviation of the noise.
        seed: seed of the noise.
    """
    transform = RandGaussianNoise(prob=1.0, std=std, sample_std=False)
    transform.set_random_state(seed)
    return _plain(transform(image))


def bias_field(image: Tensor, strength: float, seed: int) -> Tensor:
    """Multiply the MR by a smooth field, the exponential of a polynomial of degree 3; CT has no such fault.

    Args:
        image: (2, d, h, w).
        strength: largest coefficient of the polynomial.
        seed: seed of the coefficients.
    """
    transform = RandBiasField(coeff_range=(-strength, strength), prob=1.0)
    transform.set_random_state(seed)
    out = image.clone()
    out[_MR] = _plain(transform(image[_MR : _MR + 1]))[0]
    return out


def blur(image: Tensor, sigma: float, seed: int) -> Tensor:
    """Smooth both images by a Gaussian of `sigma` voxels."""
    return _plain(GaussianSmooth(sigma)(image))


def motion(image: Tensor, share: float, seed: int) -> Tensor:
    """Let the patient move during the scan: lines of k-space along h come from the image three voxels further.

    The scanner shows the magnitude, so an image without such lines is as before.

    Args:
        image: (2, d, h, w), not negative.
        share: share of the lines that are replaced, 0 to 1; the same lines in both images.
        seed: seed of the choice of lines.
    """
    num_lines = image.shape[2]
    chosen = np.random.default_rng(seed).permutation(num_lines)[: round(share * num_lines)]
    k_space, moved = (torch.fft.fft(x, dim=2) for x in (image, torch.roll(image, _SHIFT, dims=2)))
    k_space[:, :, chosen] = moved[:, :, chosen]
    magnitude: Tensor = torch.fft.ifft(k_space, dim=2).abs()
    return magnitude


DISTURBANCES: Mapping[str, Disturbance] = MappingProxyType({
    "noise": noise,
    "bias field": bias_field,
    "blur": blur,
    "motion": motion,
})  # fmt: skip


def attack(network: nn.Module, image: Tensor, label: Tensor, *, radius: float, steps: int) -> Tensor:
    """Look for the change of l2 norm `radius` at most that makes the cross-entropy largest: projected ascent.

    Args:
        network: maps (1, 2, d, h, w) to logits (1, classes, d, h, w).
        image: (1, 2, d, h, w).
        label: class indices (1, d, h, w).
        radius: l2 norm over both images.
        steps: steps of gradient ascent from no change at all.

    Returns:
        the attacked image, shaped like `image`.
    """

    def loss(x: Tensor) -> Tensor:
        return cross_entropy(network(x).float(), label)

    change = torch.zeros_like(image)
    for _ in range(steps):
        gradient = pull_back(loss, image + change, torch.ones((), device=image.device))
        change = change + _STEP * radius / steps * gradient / gradient.norm().clamp_min(_TINY)
        change = change * (radius / change.norm().clamp_min(_TINY)).clamp_max(1)
    return image + change


def _plain(x: Tensor) -> Tensor:
    """Take off MONAI's metadata."""
    return torch.as_tensor(x).as_subclass(Tensor)


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
