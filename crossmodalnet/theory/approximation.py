"""Theorem 2.3, universal approximation: what no network of this kind can represent, and how close it gets elsewhere."""

from collections.abc import Callable

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
from crossmodalnet.theory.subject import AuditSubject, isolated_seed, mean_dice, relative_deviation
from crossmodalnet.training.objectives import evaluate_objectives

# A fixed family of functions of standardised images a (CT) and b (MR), (n, 1, d, h, w) each.
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": lambda a, b: a * b,
    "maximum": torch.maximum,
    "local mean of CT times MR": lambda a, b: functional.avg_pool3d(a, 3, 1, 1, count_include_pad=False) * b,
}
SIZE = (8, 8, 8)
BATCH = 8
NUM_TEST = 32
LEARNING_RATE = 1e-2
# Channels and layers per level; the middle one is in both series.
WIDTHS = (6, 12, 24)
DEPTHS = (1, 2)
MIDDLE = 12
# A relative change of the output below this counts as none.
SAME_OUTPUT = 1e-2
DARKER = 0.5
OVERFITTED = 0.99
OVERFIT_RATE = 5e-3
EVALUATE_EVERY = 10
# The overfitted case is cut to this many times the smallest patch of the network.
OVERFIT_MULTIPLE = 2


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Search for inputs that the network cannot tell apart; study approximation and overfitting."""
    if not subject.crosses or subject.config is None:
        return CheckOutcome(
            [not_applicable("theorem_2_3", "The claim is about networks of two attending streams.")]
        )
    output_change, intensity = darken(subject)
    rows: list[Row] = []
    for channels, depth in dict.fromkeys([*((c, 1) for c in WIDTHS), *((MIDDLE, d) for d in DEPTHS)]):
        small = small_config(subject.config, channels, depth)
        errors = errors_after_training(small, config.approximation_steps, config.seed, subject.device)
        rows += [{"function": n, "channels": channels, "depth": depth, "error": e} for n, e in errors.items()]
    sizes = ((WIDTHS[0], 1), (WIDTHS[-1], 1), (MIDDLE, DEPTHS[-1]))
    narrow, wide, deep = (_mean_error(rows, *size) for size in sizes)
    curve = overfit(subject.config, subject.training[0], config, subject.device)
    finding = judge(output_change, intensity, narrow, wide, deep, curve[-1][1])
    overfitting: list[Row] = [{"step": step, "dice": dice} for step, dice in curve]
    return CheckOutcome([finding], {"approximation": rows, "overfitting": overfitting})


def random_images(n: int, generator: torch.Generator) -> Tensor:
    """Draw smooth images with mean 0 and variance 1 per image and stream, `(n, 2, *SIZE)`."""
    noise = torch.randn(n, 2, *SIZE, generator=generator)
    smooth = functional.avg_pool3d(noise, 3, 1, 1, count_include_pad=False)
    mean, std = smooth.mean((2, 3, 4), keepdim=True), smooth.std((2, 3, 4), keepdim=True)
    return (smooth - mean) / std


def targets(images: Tensor) -> Tensor:
    """Compute every function of the family, standardised over the batch: `(n, functions, *SIZE)`."""
    a, b = images[:, :1], images[:, 1:]
    values = torch.cat([function(a, b) for function in FUNCTIONS.values()], dim=1)
    axes = (0, 2, 3, 4)
    return (values - values.mean(axes, keepdim=True)) / values.std(axes, keepdim=True)


def small_config(config: BuildConfig, channels: int, depth: int) -> BuildConfig:
    """Reduce a network to two levels of `depth` layers, with `channels` at the finer one.

    Deep supervision serves training alone, while the claim is about the function that the network computes. The
    functions are of two images, so there is no token for a missing one.
    """
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


def errors_after_training(
    config: BuildConfig, steps: int, seed: int, device: torch.device
) -> dict[str, float]:
    """Train one network on all functions at once by Adam and measure its errors on new images.

    Returns:
        root mean square error by function, over the function's standard deviation: 1 is that of a constant.
    """
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
    """Measure the relative change of the logits of a test case at half its intensity, and its mean CT intensity."""
    images = subject.images(subject.test[:1])
    with torch.no_grad():
        before, after = subject.network(images), subject.network(DARKER * images)
    return relative_deviation(after, before), float(images[:, 0].mean())


def overfit(
    network_config: BuildConfig, case: LabelledCase, config: AuditConfig, device: torch.device
) -> list[tuple[int, float]]:
    """Train a fresh network on the middle of one case until it fits, without what helps on other cases only.

    Returns:
        steps and mean Dice of the case's structures, on the case itself; ends above `OVERFITTED`.
    """
    d, h, w = (
        min(OVERFIT_MULTIPLE * m, n // m * m)
        for m, n in zip(network_config.multiples(), case.label.shape, strict=True)
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


def judge(
    output_change: float, intensity: float, narrow: float, wide: float, deep: float, overfitted: float
) -> StatementFinding:
    """Judge Theorem 2.3 by the change of the output of darker images; errors and the fit are only reported.

    Args:
        output_change: relative change of the logits at half the intensity.
        intensity: mean CT intensity of the images, a continuous function of them.
        narrow: error of the narrowest network, mean over the functions.
        wide: error of the widest network.
        deep: error of the deepest network.
        overfitted: Dice on the case that was trained on.
    """
    numbers = {
        "output_change_when_darker": output_change,
        "error_narrow": narrow,
        "error_wide": wide,
        "error_deep": deep,
        "overfitted_dice": overfitted,
    }
    study = (
        f"On {len(FUNCTIONS)} known functions of what remains the error goes from {narrow:.2f} to {wide:.2f} with "
        f"{WIDTHS[-1] // WIDTHS[0]} times the channels, and one case is fitted to Dice {overfitted:.3f}"
    )
    if output_change > SAME_OUTPUT:
        why = f"No run can prove it. {study}."
        return StatementFinding("theorem_2_3", Verdict.UNDECIDED, why, numbers)
    darker = DARKER * intensity
    return StatementFinding(
        "theorem_2_3",
        Verdict.FAILS,
        "The network cannot see how bright the images are as a whole: at half their intensity its output stays the "
        f"same (to {output_change:.1%}), so no width or depth lets features like these tell their mean. {study}.",
        numbers,
        "Part 1 takes residual networks as dense in the continuous functions; instance normalisation in the stem "
        "(stem: conv, the project's own) removes the scale of each image, but for features as small as the norm's "
        "epsilon. Part 4 takes compositions of dense classes as dense, which does not follow either.",
        f"f = mean CT intensity is {intensity:.3f} for a test case and {darker:.3f} for the same "
        f"images at half intensity; equal outputs miss one of them by at least {(intensity - darker) / 2:.3f}.",
    )


def _mean_error(rows: list[Row], channels: int, depth: int) -> float:
    errors = [float(row["error"]) for row in rows if (row["channels"], row["depth"]) == (channels, depth)]
    return sum(errors) / len(errors)
