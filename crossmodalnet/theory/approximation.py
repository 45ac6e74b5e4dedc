"""Check Theorem 2.3, universal approximation, and study the errors and overfitting of small networks."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.imaging.samples import LabelledCase, centre_crop
from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.assembly import build_crossmodalnet
from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.statements import STATEMENTS
from crossmodalnet.theory.subject import AuditSubject, isolated_seed, mean_dice, relative_deviation
from crossmodalnet.training.objectives import evaluate_objectives

# Functions of standardised images a (CT) and b (MR), (n, 1, d, h, w) each.
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": lambda a, b: a * b,
    "maximum": torch.maximum,
    "local mean of CT times MR": lambda a, b: functional.avg_pool3d(a, 3, 1, 1, count_include_pad=False) * b,
}
SIZE = (8, 8, 8)
BATCH = 8
NUM_TEST = 32
LEARNING_RATE = 1e-2
NARROW, WIDE, DEEP = (6, 1), (24, 1), (12, 2)  # channels, layers per level
SIZES = (NARROW, (12, 1), WIDE, DEEP)
SAME_OUTPUT = 1e-2  # a relative change below this counts as none
DARKER = 0.5
OVERFITTED = 0.99
OVERFIT_RATE = 5e-3
EVALUATE_EVERY = 10
OVERFIT_MULTIPLE = 2  # size of the overfitted patch over the network's smallest


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Search for inputs that the network cannot tell apart; study approximation and overfitting."""
    if not subject.crosses or subject.config is None:
        return CheckOutcome([not_applicable("theorem_2_3", "The claim is about networks of two attending streams.")])
    output_change, intensity = darken(subject)
    rows: list[Row] = []
    means: dict[tuple[int, int], float] = {}
    for channels, depth in SIZES:
        small = small_config(subject.config, channels, depth)
        errors = errors_after_training(small, config.approximation_steps, config.seed, subject.device)
        rows += [{"function": n, "channels": channels, "depth": depth, "error": e} for n, e in errors.items()]
        means[channels, depth] = sum(errors.values()) / len(errors)
    curve = overfit(subject.config, subject.training[0], config, subject.device)
    numbers = {
        "output_change_when_darker": output_change,
        "error_narrow": means[NARROW],
        "error_wide": means[WIDE],
        "error_deep": means[DEEP],
        "overfitted_dice": curve[-1][1],
    }
    finding = judge(numbers, intensity)
    overfitting: list[Row] = [{"step": step, "dice": dice} for step, dice in curve]
    return CheckOutcome([finding], {"approximation": rows, "overfitting": overfitting})


def random_images(n: int, generator: torch.Generator) -> Tensor:
    """Draw smooth images with mean 0 and variance 1 per image and stream, `(n, 2, *SIZE)`."""
    noise = torch.randn(n, 2, *SIZE, generator=generator)
    smooth = functional.avg_pool3d(noise, 3, 1, 1, count_include_pad=False)
    mean, std = smooth.mean((2, 3, 4), keepdim=True), smooth.std((2, 3, 4), keepdim=True)
    return (smooth - mean) / std


def targets(images: Tensor) -> Tensor:
    """Compute all functions, standardised over the batch: `(n, functions, *SIZE)`."""
    a, b = images[:, :1], images[:, 1:]
    values = torch.cat([function(a, b) for function in FUNCTIONS.values()], dim=1)
    axes = (0, 2, 3, 4)
    return (values - values.mean(axes, keepdim=True)) / values.std(axes, keepdim=True)


def small_config(config: BuildConfig, channels: int, depth: int) -> BuildConfig:
    """Reduce a network to two levels of `depth` layers, with `channels` at the finer one; deep supervision is off."""
    return config.model_copy(
        update={
            "channels": channels,
            "depths": (depth, depth),
            "heads": (1, 2),
            "patch_embedding": (2, 2, 2),
            "window": (4, 4, 4),
            "cross_window": ((4, 4, 4), None),
            "num_points": (1, 2),
            "stem_channels": (4,),
            "head_channels": 8,
            "checkpointing": False,
            "deep_supervision": False,
            "missing_token": False,
        }
    )


def errors_after_training(config: BuildConfig, steps: int, seed: int, device: torch.device) -> dict[str, float]:
    """Train one network on all functions; return RMS errors on new images (1: error of a constant), by function."""
    with isolated_seed(seed):
        network: nn.Module = build_crossmodalnet(config.options(), SIZE, len(FUNCTIONS)).to(device)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        images = random_images(BATCH, generator)
        loss = functional.mse_loss(network(images.to(device)), targets(images).to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    unseen = random_images(NUM_TEST, generator)
    with torch.no_grad():
        difference = network.eval()(unseen.to(device)).cpu() - targets(unseen)
    errors = difference.square().mean((0, 2, 3, 4)).sqrt()
    return {name: float(error) for name, error in zip(FUNCTIONS, errors, strict=True)}


def darken(subject: AuditSubject) -> tuple[float, float]:
    """Halve the intensity of a test case; return the relative change of the logits and the original mean CT."""
    images = subject.images(subject.test[:1])
    with torch.no_grad():
        before, after = subject.network(images), subject.network(DARKER * images)
    return relative_deviation(after, before), float(images[:, 0].mean())


def overfit(
    network_config: BuildConfig, case: LabelledCase, config: AuditConfig, device: torch.device
) -> list[tuple[int, float]]:
    """Train a fresh network on the centre of one case until it fits; return steps and Dice on that case."""
    d, h, w = (
        min(OVERFIT_MULTIPLE * m, n // m * m) for m, n in zip(network_config.multiples(), case.label.shape, strict=True)
    )
    size: Triple = (d, h, w)
    image, label = (centre_crop(x, size)[None].to(device) for x in (case.image, case.label))
    with isolated_seed(config.seed):
        options = network_config.model_copy(update={"deep_supervision": False}).options()
        network = build_crossmodalnet(options, size, NUM_CLASSES).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=OVERFIT_RATE)
    curve = [(0, mean_dice(network(image).argmax(1).cpu(), label.cpu()))]
    for step in range(1, config.overfit_steps + 1):
        logits = network(image)
        if step % EVALUATE_EVERY == 0:
            curve.append((step, mean_dice(logits.argmax(1).cpu(), label.cpu())))
            if curve[-1][1] > OVERFITTED:
                break
        loss = evaluate_objectives(("dice", "ce"), logits, label.long()).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return curve


def judge(numbers: Mapping[str, float], intensity: float) -> StatementFinding:
    """Judge Theorem 2.3 by the change of the output of darker images; errors and Dice are only reported."""
    key, output_change = "theorem_2_3", numbers["output_change_when_darker"]
    narrow, wide, overfitted = (numbers[key] for key in ("error_narrow", "error_wide", "overfitted_dice"))
    study = (
        f"On {len(FUNCTIONS)} known functions of what remains the error goes from {narrow:.2f} to {wide:.2f} with "
        f"{WIDE[0] // NARROW[0]} times the channels, and one case is fitted to Dice {overfitted:.3f}"
    )
    if output_change > SAME_OUTPUT:
        why = f"No run can prove it. {study}."
        return StatementFinding(key, Verdict.UNDECIDED, why, numbers)
    why = (
        "The network cannot see how bright the images are as a whole: at half their intensity its output stays the "
        f"same (to {output_change:.1%}), so no width or depth lets features like these tell their mean. {study}."
    )
    darker = DARKER * intensity
    example = (
        f"f = mean CT intensity is {intensity:.3f} for a test case and {darker:.3f} for the same "
        f"images at half intensity; equal outputs miss one of them by at least {(intensity - darker) / 2:.3f}."
    )
    return StatementFinding(key, Verdict.FAILS, why, numbers, STATEMENTS[key].breaks, example)
