"""Model cards, and rebuilding trained networks from their folders.

Folders may be untrusted: the card is compared with the weight file before either takes memory.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from math import prod
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

import crossmodalnet
from crossmodalnet.imaging.geometry import MAX_SPACING_MM
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.imaging.structures import NUM_CLASSES, STRUCTURES
from crossmodalnet.io.console import count
from crossmodalnet.networks.common.build import build_network, check_complete
from crossmodalnet.networks.common.sizes import MAX_SIZE, MAX_VOXELS

Shapes = Mapping[str, tuple[int, ...]]

BEST = "weights.safetensors"
LAST = "last.safetensors"
CARD = "card.json"
MAX_CARD_BYTES = 2**22
PHANTOM, MAX_COHORT = "phantom (synthetic)", 200
MAX_OPTION, MAX_NUMBERS = 4096, 256  # of the network's options: largest number, count of numbers
# Networks drop weights while they are built: ResEnc U-Net m makes 4.9 times what it keeps. Files lack the tables.
MAX_WEIGHTS_RATIO, MAX_TABLE_NUMBERS = 8, 2**27
# Errors of building a network from options of wrong types or values.
_NO_NETWORK = (
    ValueError, TypeError, RuntimeError, MemoryError, ArithmeticError, LookupError, AttributeError, AssertionError,
)  # fmt: skip

_Edge = Annotated[int, Field(ge=1, le=MAX_SIZE)]
_SpacingMm = Annotated[float, Field(gt=0, le=MAX_SPACING_MM)]


class TooLargeError(ValueError):
    """Signal that a network has more weights than its file."""


class LabelEntry(BaseModel):
    """Link a class of the network's output to its code in label maps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    abbreviation: str
    code: int


class ModelCard(BaseModel):
    """Describe a model's origin and all that prediction needs; reproducible from run to run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(description="name of the model: its network, and what an ablation changes")
    builder: str = Field(description="key of the network's builder")
    seed: int = Field(description="seed of the first weights, the order of samples and their augmentation")
    network: dict[str, Any] = Field(description="options of the network")
    patch_size: tuple[_Edge, _Edge, _Edge] = Field(description="voxels of the network's input")
    spacing_mm: tuple[_SpacingMm, _SpacingMm, _SpacingMm] = Field(description="spacing of the working grid, mm")
    size: tuple[_Edge, _Edge, _Edge] = Field(description="size of the working grid, voxels")
    ct_window_hu: tuple[float, float] = Field(description="Hounsfield units that become 0 and 1")
    mr_percentiles: tuple[float, float] = Field(description="percentiles of each MR that become 0 and 1")
    labels: tuple[LabelEntry, ...] = Field(description="classes that the cohort delineates, without background")
    num_classes: int = Field(description="number of classes, background included")
    train: dict[str, Any] = Field(description="parameters of the training")
    losses: dict[str, Any] = Field(description="parameters of the objectives")
    augment: dict[str, Any] = Field(description="parameters of the augmentation")
    versions: dict[str, str] = Field(description="versions of the packages that matter")
    adaptation: dict[str, Any] | None = Field(
        None, description="parameters of the adaptation and its variant, if there was one"
    )
    cohort: str | None = Field(
        None, max_length=MAX_COHORT, description="cohort of the training: its source and name; null in earlier cards"
    )
    data_fingerprint: str = Field(description="fingerprint of the training and validation pairs' files")
    training_pairs: tuple[str, ...]
    validation_pairs: tuple[str, ...]
    best_epoch: int = Field(description="epoch whose weights are kept, counted from 1")
    validation_dice: float = Field(
        description="Dice of the weights that are kept, mean over validation pairs, on the working grid"
    )

    @field_validator("patch_size", "size")
    @classmethod
    def _of_bounded_volume(cls, size: tuple[int, int, int]) -> tuple[int, int, int]:
        if prod(size) > MAX_VOXELS:
            raise ValueError(f"must have at most {MAX_VOXELS} voxels, got {size}")
        return size

    @field_validator("network")
    @classmethod
    def _of_bounded_numbers(cls, network: dict[str, Any]) -> dict[str, Any]:
        numbers = list(islice(_numbers(network), MAX_NUMBERS + 1))
        if len(numbers) > MAX_NUMBERS:
            raise ValueError(f"has more than {MAX_NUMBERS} numbers: no network of this project")
        if not all(number <= MAX_OPTION for number in numbers):  # also rejects NaN
            raise ValueError(f"has a number above {MAX_OPTION}: no network of this project")
        return network

    @model_validator(mode="after")
    def _of_known_classes(self) -> "ModelCard":
        known = tuple(entry for entry in label_entries() if entry in self.labels)
        if not known or self.labels != known or self.num_classes != NUM_CLASSES:
            raise ValueError(f"its classes differ from those of this version of crossmodalnet: {self.labels}")
        _ = self.intensity  # raises for impossible windows
        return self

    @property
    def origin(self) -> str:
        """Say whose scans trained the model."""
        return f"{self.cohort or 'a cohort that is not recorded'}, {count(len(self.training_pairs), 'training case')}"

    @property
    def intensity(self) -> Intensity:
        """Return the normalisation of the network's input."""
        return Intensity(self.ct_window_hu, self.mr_percentiles)

    def options(self) -> dict[str, Any]:
        """Return the network's options as its builder takes them."""
        return {key: _tuples(value) for key, value in self.network.items()}

    def build(self) -> nn.Module:
        """Build the network with random weights; ValueError for an unknown, invalid or missing option."""
        check_complete(self.builder, self.network)
        return build_network(self.builder, self.options(), patch_size=self.patch_size, num_classes=self.num_classes)


class LoadedModel(NamedTuple):
    """Hold a trained network, on the CPU and in evaluation mode, with its card."""

    network: nn.Module
    card: ModelCard


def label_entries(missing: Sequence[str] = ()) -> tuple[LabelEntry, ...]:
    """List the classes for the card, but those missing in the cohort."""
    return tuple(
        LabelEntry(index=structure.index, abbreviation=structure.abbreviation, code=structure.code)
        for structure in STRUCTURES
        if structure.abbreviation not in missing
    )


def package_versions() -> dict[str, str]:
    """List the versions of packages that determine the weights."""
    return {"crossmodalnet": crossmodalnet.__version__, **{name: version(name) for name in ("monai", "torch")}}


def load_model(folder: str | os.PathLike[str], weights: str = BEST) -> LoadedModel:
    """Rebuild a trained network from its folder; `weights` is `BEST` or `LAST`.

    FileNotFoundError for a missing file; ValueError for a damaged one, or weights that do not fit the card's network.
    """
    card = read_card(folder)
    path = Path(folder) / weights
    if not path.is_file():
        raise FileNotFoundError(2, "not found", str(path))
    try:
        stored = shapes_in(path)
        problems = misfits(shapes_built(card.build, stored), stored)
        if not problems:
            network, tensors = card.build(), load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    except TooLargeError as error:
        problems = [str(error)]
    except _NO_NETWORK as error:
        raise ValueError(f"{path.with_name(CARD)} describes no network of this version: {error}") from error
    if problems:
        raise ValueError(f"{path} does not fit the network on its card: {'; '.join(problems)}")
    network.load_state_dict(tensors)
    return LoadedModel(network.eval(), card)


def read_card(folder: str | os.PathLike[str]) -> ModelCard:
    """Read a model's card; FileNotFoundError, or ValueError if it is none or has other classes than this version."""
    path = Path(folder) / CARD
    if not path.is_file():
        raise FileNotFoundError(2, "not found", str(path))
    if path.stat().st_size > MAX_CARD_BYTES:
        raise ValueError(f"{path} is not a model card: it has more than {MAX_CARD_BYTES} bytes")
    try:
        return ModelCard.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        raise ValueError(f"{path} is not a model card: {first_problem(error)}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a model card: {error}") from error


def first_problem(error: ValidationError) -> str:
    """Format the first invalid field and its problem in one line."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), message]))


def shapes_in(path: Path) -> Shapes:
    """Read the shapes of the weights from a safetensors header, which is checked against the file's size."""
    with safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def shapes_built(build: Callable[[], nn.Module], stored: Shapes) -> Shapes:
    """Collect the shapes of a network's weights without allocating them; any error of `build` passes through.

    The meta device takes no memory; `MAX_WEIGHTS_RATIO` times the weights in the file bounds the time.

    Raises:
        TooLargeError: the network has more weights than that.
    """
    with torch.device("meta"), _RatesOnCpu(), _bounded(stored):
        network = build()
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


class _RatesOnCpu(TorchFunctionMode):
    """Keep `linspace` on the CPU: networks read drop-path rates from it, and meta tensors have no values."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        changed = {"device": "cpu"} if func is torch.linspace else {}
        return func(*args, **{**(kwargs or {}), **changed})


@contextmanager
def _bounded(stored: Shapes) -> Iterator[None]:
    """Stop building a network on the meta device once it is too large for these weights."""
    most_tensors = MAX_WEIGHTS_RATIO * len(stored)
    most_numbers = MAX_WEIGHTS_RATIO * sum(map(prod, stored.values()))
    tensors = numbers = table_numbers = 0

    def count(module: nn.Module, name: str, weight: Tensor | None) -> None:
        nonlocal tensors, numbers
        if weight is None or not weight.is_meta:  # another thread builds another network
            return
        tensors, numbers = tensors + 1, numbers + weight.numel()
        if tensors > most_tensors or numbers > most_numbers:
            raise TooLargeError(
                f"the network has more than {MAX_WEIGHTS_RATIO} times its weights, "
                f"{most_numbers // MAX_WEIGHTS_RATIO} numbers in {len(stored)} tensors"
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


def misfits(wanted: Shapes, stored: Shapes) -> Sequence[str]:
    """List the first three differences of each kind between two sets of weights."""
    shapes = [
        f"{name} is {stored[name]}, not {shape}"
        for name, shape in wanted.items()
        if name in stored and stored[name] != shape
    ]
    missing = [f"{name} is missing" for name in wanted if name not in stored]
    surplus = [f"{name} is unknown" for name in stored if name not in wanted]
    return [*shapes[:3], *missing[:3], *surplus[:3]]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield abs(value)


def _tuples(value: Any) -> Any:
    """Turn JSON's lists into the tuples that networks take."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
