"""Theorem 2.3, universal approximation: what no network of this kind can represent, and how close it gets elsewhere."""

from dataclasses import dataclass

import torch
from torch import Tensor

from crossmodalnet.imaging.samples import LabelledCase, centre_crop
from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.assembly import build_crossmodalnet
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.theory.capture import own_generator, relative_deviation
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.functions import FUNCTIONS, errors_after_training, small_config
from crossmodalnet.theory.scoring import mean_dice
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject
from crossmodalnet.training.objectives import evaluate_objectives

# Channels and layers per level; the middle one is in both series.
WIDTHS = (6, 12, 24)
DEPTHS = (1, 2)
MIDDLE = 12
# A change of output below this share of its size counts as none.
SAME_OUTPUT = 1e-2
DARKER = 0.5
OVERFITTED = 0.99
OVERFIT_RATE = 5e-3
LOOK_EVERY = 10
# The one case is cut to this many times the smallest patch of the network.
OVERFIT_MULTIPLE = 2


@dataclass(frozen=True)
class Darkening:
    """What making both images darker changes.

    Attributes:
        output: relative change of the logits.
        before: mean CT intensity, a continuous function of the images.
        after: mean CT intensity of the darker images.
    """

    output: float
    before: float
    after: float


def check(subject: AuditSubject, settings: AuditSettings) -> CheckOutcome:
    """Look for inputs that the network cannot tell apart; study approximation and overfitting."""
    if not subject.crosses or subject.config is None:
        return CheckOutcome(
            [not_applicable("theorem_2_3", "The claim is about networks of two attending streams.")]
        )
    darkening = darken(subject)
    rows: list[Row] = []
    for channels, depth in dict.fromkeys([*((c, 1) for c in WIDTHS), *((MIDDLE, d) for d in DEPTHS)]):
        config = small_config(subject.config, channels, depth)
        errors = errors_after_training(config, settings.approximation_steps, settings.seed, subject.device)
        rows += [{"function": n, "channels": channels, "depth": depth, "error": e} for n, e in errors.items()]
    curve = overfit(subject.config, subject.training[0], settings, subject.device)
    finding = judge(
        darkening,
        _mean(rows, WIDTHS[0], 1),
        _mean(rows, WIDTHS[-1], 1),
        _mean(rows, MIDDLE, DEPTHS[-1]),
        curve[-1][1],
    )
    overfitting: list[Row] = [{"step": step, "dice": dice} for step, dice in curve]
    return CheckOutcome([finding], {"approximation": rows, "overfitting": overfitting})


def darken(subject: AuditSubject) -> Darkening:
    """Compare the trained network's outputs for a test case and for the same images at half their intensity."""
    images = subject.images(subject.test[:1])
    with torch.no_grad():
        before, after = subject.network(images), subject.network(DARKER * images)
    mean = float(images[:, 0].mean())
    return Darkening(relative_deviation(after, before), mean, DARKER * mean)


def overfit(
    config: CrossModalNetConfig, case: LabelledCase, settings: AuditSettings, device: torch.device
) -> list[tuple[int, float]]:
    """Train a fresh network of these options on the middle of one case until it fits.

    Args:
        config: options of the network; its stochastic depth and deep supervision, which help other cases, are left out.
        case: at least `OVERFIT_MULTIPLE` times the smallest patch on every axis, else all of it is used.
        settings: seed and largest number of steps.
        device: device of the training.

    Returns:
        steps and mean Dice of the structures that are there, on the case itself; ends above `OVERFITTED`.
    """
    d, h, w = (
        min(OVERFIT_MULTIPLE * m, n // m * m)
        for m, n in zip(config.multiples(), case.label.shape, strict=True)
    )
    size: Triple = (d, h, w)
    image, label = (
        centre_crop(case.image, size)[None].to(device),
        centre_crop(case.label, size)[None].to(device),
    )
    with own_generator(settings.seed):
        options = config.model_copy(update={"deep_supervision": False}).options()
        network = build_crossmodalnet(options, size, NUM_CLASSES).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=OVERFIT_RATE)
    curve = [(0, _dice(network(image), label))]
    for step in range(1, settings.overfit_steps + 1):
        logits = network(image)
        if step % LOOK_EVERY == 0:
            curve.append((step, _dice(logits, label)))
            if curve[-1][1] > OVERFITTED:
                break
        loss = evaluate_objectives(("dice", "ce"), logits, label.long()).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return curve


def judge(
    darkening: Darkening, narrow: float, wide: float, deep: float, overfitted: float
) -> StatementFinding:
    """Give the verdict on Theorem 2.3.

    Args:
        darkening: change of output by darker images.
        narrow: error of the narrowest network, mean of the functions.
        wide: error of the widest network, mean of the functions.
        deep: error of the deepest network, mean of the functions.
        overfitted: Dice on the one case it was trained on.
    """
    numbers = {
        "output_change_when_darker": darkening.output,
        "error_narrow": narrow,
        "error_wide": wide,
        "error_deep": deep,
        "overfitted_dice": overfitted,
    }
    study = (
        f"On {len(FUNCTIONS)} known functions of what remains the error goes from {narrow:.2f} to {wide:.2f} with "
        f"{WIDTHS[-1] // WIDTHS[0]} times the channels, and one case is fitted to Dice {overfitted:.3f}"
    )
    if darkening.output > SAME_OUTPUT:
        why = f"No run can prove it. {study}."
        return StatementFinding("theorem_2_3", Verdict.UNDECIDED, why, numbers)
    lost = (darkening.before - darkening.after) / 2
    return StatementFinding(
        "theorem_2_3",
        Verdict.FAILS,
        "The network cannot see how bright the images are as a whole: at half their intensity its output stays the "
        f"same (to {darkening.output:.1%}), so no width or depth lets features like these tell their mean. {study}.",
        numbers,
        "Part 1 takes residual networks as dense in the continuous functions; instance normalisation in the stem "
        "(stem: conv, the project's own) removes the scale of each image, but for features as small as the norm's "
        "epsilon. Part 4 takes compositions of dense classes as dense, which does not follow either.",
        f"f = mean CT intensity is {darkening.before:.3f} for a test case and {darkening.after:.3f} for the same "
        f"images at half intensity; equal outputs miss one of them by at least {lost:.3f}.",
    )


def _mean(rows: list[Row], channels: int, depth: int) -> float:
    errors = [float(row["error"]) for row in rows if (row["channels"], row["depth"]) == (channels, depth)]
    return sum(errors) / len(errors)


def _dice(logits: Tensor, label: Tensor) -> float:
    """Mean Dice of the structures that the label has."""
    return mean_dice(logits.argmax(1).cpu(), label.cpu())
