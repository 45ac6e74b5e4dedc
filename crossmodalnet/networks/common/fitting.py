"""Whether a network is that of a file of weights, known before either takes memory: for models from outside."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

Shapes = Mapping[str, tuple[int, ...]]

# Some weights are made and dropped while a network is built, 4.9 times as many as are kept in the residual-encoder
# U-Net of size m; and some have tables that no file holds.
SLACK = 8
MAX_TABLE_NUMBERS = 2**27


class TooLargeError(ValueError):
    """A network has more weights than a file."""


def shapes_in(path: Path) -> Shapes:
    """Read the weights' shapes from the header of a safetensors file, which is checked against the file's size.

    Raises:
        SafetensorError: the file is damaged.
    """
    with safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def shapes_built(build: Callable[[], nn.Module], found: Shapes) -> Shapes:
    """Give the shapes of the weights that a network has.

    It is built on PyTorch's meta device, whose tensors take no memory, and no further than to `SLACK` times the weights
    in `found`, so that an enormous network takes no time either.

    Args:
        build: builds the network.
        found: shapes in the file that it should have.

    Raises:
        TooLargeError: it has more weights.
        Exception: what `build` raises.
    """
    with torch.device("meta"), _RatesOnCpu(), _bounded(found):
        network = build()
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


class _RatesOnCpu(TorchFunctionMode):
    """Leaves `linspace` on the CPU: networks read rates of dropped paths from it, and meta tensors have no values."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        changed = {"device": "cpu"} if func is torch.linspace else {}
        return func(*args, **{**(kwargs or {}), **changed})


@contextmanager
def _bounded(found: Shapes) -> Iterator[None]:
    """Stop whatever builds a network on the meta device once it is too large for these weights."""
    most_tensors = SLACK * len(found)
    most_numbers = SLACK * sum(map(prod, found.values()))
    tensors = numbers = table_numbers = 0

    def count(module: nn.Module, name: str, weight: Tensor | None) -> None:
        nonlocal tensors, numbers
        if weight is None or not weight.is_meta:  # of a network that another thread builds
            return
        tensors, numbers = tensors + 1, numbers + weight.numel()
        if tensors > most_tensors or numbers > most_numbers:
            raise TooLargeError(
                f"the network has more than {SLACK} times its weights, "
                f"{most_numbers // SLACK} numbers in {len(found)} tensors"
            )

    def count_table(module: nn.Module, name: str, table: Tensor | None) -> None:
        nonlocal table_numbers
        if table is None or not table.is_meta:
            return
        table_numbers += table.numel()
        if table_numbers > MAX_TABLE_NUMBERS:
            raise TooLargeError(f"the network has tables of more than {MAX_TABLE_NUMBERS} numbers")

    handles = (
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count_table),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def misfits(wanted: Shapes, found: Shapes) -> Sequence[str]:
    """Say in what two sets of weights differ, the first few of each kind."""
    shapes = [
        f"{name} is {found[name]}, not {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    missing = [f"{name} is missing" for name in wanted if name not in found]
    surplus = [f"{name} is unknown" for name in found if name not in wanted]
    return [*shapes[:3], *missing[:3], *surplus[:3]]
