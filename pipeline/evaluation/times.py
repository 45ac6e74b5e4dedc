"""Timing of several actions in turn, so that whatever else the machine does hits all of them alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Action = Callable[[], object]

FEWEST = 3  # repetitions, without which quartiles say nothing


@dataclass(frozen=True)
class Rounds:
    """How often actions are timed.

    Attributes:
        repetitions: timed rounds.
        warmup: rounds before them, which are not timed.
        max_seconds: seconds for warm-up and timed rounds; then no further round begins, once `FEWEST` are timed.
    """

    repetitions: int
    warmup: int
    max_seconds: float


def time_in_turn(actions: Sequence[Action], rounds: Rounds, device: torch.device) -> NDArray[np.float64]:
    """Time each action once per repetition, one after the other.

    Args:
        actions: functions that are timed.
        rounds: number of rounds.
        device: device on which the actions compute; a GPU is waited for before the clock starts and before it stops.

    Returns:
        Seconds, `(len(actions), timed rounds)`.
    """
    start = time.perf_counter()
    for _ in range(rounds.warmup):
        for action in actions:
            action()
    timed: list[list[float]] = []
    while len(timed) < rounds.repetitions:
        if len(timed) >= FEWEST and time.perf_counter() - start > rounds.max_seconds:
            break
        timed.append([_seconds(action, device) for action in actions])
    return np.array(timed, dtype=np.float64).T


def _seconds(action: Action, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    action()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
