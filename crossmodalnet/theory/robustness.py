"""Check Corollary 2: changes of logits and Dice under disturbed images, against the bound of Theorem 2.6."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from monai.transforms import GaussianSmooth, RandBiasField, RandGaussianNoise
from torch import Tensor, nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.network_bounds import cumulative_bounds
from crossmodalnet.theory.part_bounds import log
from crossmodalnet.theory.sensitivity import pull_back
from crossmodalnet.theory.statements import STATEMENTS
from crossmodalnet.theory.subject import AuditSubject, mean_dice
from crossmodalnet.training.objectives import cross_entropy

NOISE_STD = 0.01  # Gaussian noise as large as the attack
ATTACK_STEPS = 6
# Levels 1 to 3. Noise of level 1 is as large as the attack.
STRENGTHS: Mapping[str, tuple[float, float, float]] = MappingProxyType({
    "noise": (1.0, 3.0, 10.0),  # standard deviation, over that of noise as large as the attack
    "bias field": (0.1, 0.3, 0.6),  # largest coefficient
    "blur": (0.5, 1.0, 2.0),  # sigma, voxels
    "motion": (0.05, 0.15, 0.3),  # share of the lines
})  # fmt: skip
_ROUNDING = -8.0  # decimal logarithm of a change that is lost in the rounding of a voxel
_MAX_ATTACKED = 2  # a step costs as much as a training step
_MR = 1
_SHIFT = 3  # voxels that the patient has moved in some of the acquired lines
_STEP = 2.5  # of the ascent, over radius / steps: reaches the sphere and can turn there
_TINY = 1e-30


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Disturb test pairs at random and adversarially; compare changes of the logits with the bound."""
    network = subject.network
    if not isinstance(network, CrossModalNet):
        why = "Only the parts of CrossModalNet have known constants."
        return CheckOutcome([not_applicable("corollary_2", why)])
    rows: list[Row] = []
    for i, case in enumerate(subject.test):
        rows += _measure(network, case, config.seed, attacked=i < _MAX_ATTACKED)
    log10_bound = cumulative_bounds(network, subject.token_size)[-1][1]
    return CheckOutcome([judge(rows, log10_bound)], {"robustness": rows})


def noise(image: Tensor, std: float, seed: int) -> Tensor:
    """Add Gaussian noise to both images."""
    transform = RandGaussianNoise(prob=1.0, std=std, sample_std=False)
    transform.set_random_state(seed)
    return _plain(transform(image))


def bias_field(image: Tensor, strength: float, seed: int) -> Tensor:
    """Multiply the MR by the exponential of a polynomial of degree 3 with coefficients up to `strength`."""
    transform = RandBiasField(coeff_range=(-strength, strength), prob=1.0)
    transform.set_random_state(seed)
    out = image.clone()
    out[_MR] = _plain(transform(image[_MR : _MR + 1]))[0]
    return out


def blur(image: Tensor, sigma: float, seed: int) -> Tensor:
    """Smooth both images by a Gaussian of `sigma` voxels."""
    return _plain(GaussianSmooth(sigma)(image))


def motion(image: Tensor, share: float, seed: int) -> Tensor:
    """Replace a share of the k-space lines along h, the same in both images, by those of a shifted image."""
    num_lines = image.shape[2]
    chosen = np.random.default_rng(seed).permutation(num_lines)[: round(share * num_lines)]
    k_space, moved = (torch.fft.fft(x, dim=2) for x in (image, torch.roll(image, _SHIFT, dims=2)))
    k_space[:, :, chosen] = moved[:, :, chosen]
    return torch.fft.ifft(k_space, dim=2).abs()


DISTURBANCES: Mapping[str, Callable[[Tensor, float, int], Tensor]] = MappingProxyType(
    {"noise": noise, "bias field": bias_field, "blur": blur, "motion": motion}
)


def attack(network: nn.Module, image: Tensor, label: Tensor, *, radius: float, steps: int) -> Tensor:
    """Attack `(1, 2, d, h, w)` by projected gradient ascent on the cross-entropy, within l2 norm `radius`."""

    def loss(x: Tensor) -> Tensor:
        return cross_entropy(network(x).float(), label)

    change = torch.zeros_like(image)
    for _ in range(steps):
        gradient = pull_back(loss, image + change, torch.ones((), device=image.device))
        change = change + _STEP * radius / steps * gradient / gradient.norm().clamp_min(_TINY)
        change = change * (radius / change.norm().clamp_min(_TINY)).clamp_max(1)
    return image + change


def judge(rows: Sequence[Row], log10_bound: float) -> StatementFinding:
    """Judge whether any change exceeds the bound, from the rows of table `robustness`."""
    changed = [row for row in rows if float(row["input_change"]) > 0]
    ratios = [float(row["output_change"]) / float(row["input_change"]) for row in changed]
    ratio, worst = max(ratios), changed[ratios.index(max(ratios))]
    log10_ratio = log(ratio) / math.log(10)
    attacked = {row["case"] for row in rows if row["disturbance"] == "attack"}
    scores: dict[tuple[str | float, float], list[float]] = {}
    for row in rows:
        if row["case"] in attacked:
            scores.setdefault((row["disturbance"], float(row["level"])), []).append(float(row["dice"]))
    clean, noisy, hit = (float(np.mean(scores[key])) for key in (("none", 0), ("noise", 1), ("attack", 1)))
    numbers = {
        "log10_bound": log10_bound,
        "log10_largest_ratio": log10_ratio,
        "dice_clean": clean,
        "dice_noise": noisy,
        "dice_attack": hit,
    }
    where = f"{worst['disturbance']} at level {worst['level']:.0f} on {worst['case']}"
    if log10_ratio > log10_bound:
        why = f"The output changed by {ratio:.3g} times the input under {where}, beyond the bound 10^{log10_bound:.1f}."
        breaks = STATEMENTS["corollary_2"].breaks
        change = f"input changed by {worst['input_change']:.3g}, output by {worst['output_change']:.3g}."
        example = f"The images under {where}: {change}"
        return StatementFinding("corollary_2", Verdict.FAILS, why, numbers, breaks, example)
    excluded = log(max(float(row["output_change"]) for row in changed)) / math.log(10) - log10_bound
    remark = ", below the rounding of one voxel, so that it says nothing in practice" * (excluded < _ROUNDING)
    why = (
        f"No disturbance changed the output by more than {ratio:.3g} times the input, {log10_bound - log10_ratio:.0f} "
        f"orders of magnitude below the bound of 10^{log10_bound:.0f}, which excludes the largest change seen only for "
        f"inputs less than 10^{excluded:.0f} apart{remark}. Noise of standard deviation {NOISE_STD:g} takes the Dice "
        f"score from {clean:.3f} to {noisy:.3f}, an attack of the same size to {hit:.3f}."
    )
    return StatementFinding("corollary_2", Verdict.HOLDS, why, numbers)


def _measure(network: nn.Module, case: LabelledCase, seed: int, *, attacked: bool) -> Iterator[Row]:
    """Disturb one case in every way; rows of table `robustness`."""
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
    for name, disturb in DISTURBANCES.items():
        for level, strength in enumerate(STRENGTHS[name], 1):
            amount = strength * NOISE_STD if name == "noise" else strength
            yield row(name, level, disturb(case.image, amount, seed))
    if attacked:
        image, label = case.image[None].to(device), case.label[None].to(device)
        radius = NOISE_STD * math.sqrt(case.image.numel())
        yield row("attack", 1, attack(network, image, label, radius=radius, steps=ATTACK_STEPS)[0])


@torch.no_grad()
def _logits(network: nn.Module, image: Tensor) -> Tensor:
    logits: Tensor = network(image[None])
    return logits.float()


def _plain(x: Tensor) -> Tensor:
    """Drop MONAI's metadata."""
    return torch.as_tensor(x).as_subclass(Tensor)
