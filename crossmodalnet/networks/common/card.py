"""The card of a trained network, which says all that prediction needs, and the network rebuilt from its folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

import crossmodalnet
from crossmodalnet.imaging.geometry import MAX_SPACING_MM
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.imaging.structures import NUM_CLASSES, STRUCTURES
from crossmodalnet.networks.common.build import build_network, check_complete
from crossmodalnet.networks.common.fitting import TooLargeError, misfits, shapes_built, shapes_in
from crossmodalnet.networks.common.sizes import MAX_SIZE, MAX_VOXELS

BEST = "weights.safetensors"
LAST = "last.safetensors"
CARD = "card.json"
MAX_BYTES = 2**22
MAX_OPTION = 4096
MAX_NUMBERS = 256
# What building a network can raise where its options, of any type, are not those of one.
_NO_NETWORK = (
    ValueError, TypeError, RuntimeError, MemoryError, ArithmeticError, LookupError, AttributeError, AssertionError,
)  # fmt: skip


class LabelEntry(BaseModel):
    """A class of the network's output and its code in label maps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    abbreviation: str
    code: int


class ModelCard(BaseModel):
    """All that is needed to use a model, and where it came from; nothing in it varies from run to run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(description="name of the model: its network, and what an ablation changes")
    builder: str = Field(description="key of the network's builder")
    seed: int = Field(description="seed of the first weights, the order of samples and their augmentation")
    network: dict[str, Any] = Field(description="options of the network")
    patch_size: tuple[int, int, int] = Field(description="voxels that the network sees at once")
    spacing_mm: tuple[float, float, float] = Field(description="spacing of the working grid, mm")
    size: tuple[int, int, int] = Field(description="size of the working grid, voxels")
    ct_window_hu: tuple[float, float] = Field(description="Hounsfield units that become 0 and 1")
    mr_percentiles: tuple[float, float] = Field(description="percentiles of each MR that become 0 and 1")
    labels: tuple[LabelEntry, ...] = Field(description="classes but background, which is 0")
    num_classes: int = Field(description="number of classes, background included")
    train: dict[str, Any] = Field(description="parameters of the training")
    losses: dict[str, Any] = Field(description="parameters of the objectives")
    augment: dict[str, Any] = Field(description="parameters of the augmentation")
    versions: dict[str, str] = Field(description="versions of the packages that matter")
    adaptation: dict[str, Any] | None = Field(
        None, description="parameters of the adaptation and its variant, if there was one"
    )
    data_fingerprint: str = Field(description="fingerprint of the training and validation pairs' files")
    training_pairs: tuple[str, ...]
    validation_pairs: tuple[str, ...]
    best_epoch: int = Field(description="epoch whose weights are kept, counted from 1")
    validation_dice: float = Field(
        description="Dice of the weights that are kept, mean over validation pairs, on the working grid"
    )

    @property
    def intensity(self) -> Intensity:
        """How images become the network's input."""
        return Intensity(self.ct_window_hu, self.mr_percentiles)

    def options(self) -> dict[str, Any]:
        """The network's options as its builder takes them."""
        return {key: _tuples(value) for key, value in self.network.items()}

    def build(self) -> nn.Module:
        """Build the network, with random weights.

        Raises:
            ValueError: an option is unknown, impossible or missing.
        """
        check_complete(self.builder, self.network)
        return build_network(
            self.builder, self.options(), patch_size=self.patch_size, num_classes=self.num_classes
        )


@dataclass(frozen=True)
class LoadedModel:
    """A trained network, on the CPU and in evaluation mode, and its card."""

    network: nn.Module
    card: ModelCard


def label_entries() -> tuple[LabelEntry, ...]:
    """The classes as the card lists them."""
    return tuple(
        LabelEntry(index=structure.index, abbreviation=structure.abbreviation, code=structure.code)
        for structure in STRUCTURES
    )


def package_versions() -> dict[str, str]:
    """Versions of what shapes the weights."""
    return {
        "crossmodalnet": crossmodalnet.__version__,
        **{name: version(name) for name in ("monai", "torch")},
    }


def load_model(folder: Path, weights: str = BEST) -> LoadedModel:
    """Rebuild a trained network from its folder alone.

    Args:
        folder: folder of the card and the weights.
        weights: `BEST` or `LAST`.

    Raises:
        FileNotFoundError: a file is missing; its `filename` is that file's.
        ValueError: a file is damaged, or the weights are not those of the network on the card; names the file.
    """
    card = read_card(folder)
    path = folder / weights
    if not path.is_file():
        raise FileNotFoundError(2, "not found", str(path))
    try:
        found = shapes_in(path)
        # Card and weights may come from anywhere: what they say is compared before memory is taken.
        problems = misfits(shapes_built(card.build, found), found)
        if not problems:
            network, tensors = card.build(), load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    except TooLargeError as error:
        problems = [str(error)]
    except _NO_NETWORK as error:
        raise ValueError(f"{folder / CARD} describes no network of this version: {error}") from error
    if problems:
        raise ValueError(f"{path} does not fit the network on its card: {'; '.join(problems)}")
    network.load_state_dict(tensors)
    return LoadedModel(network.eval(), card)


def read_card(folder: Path) -> ModelCard:
    """Read a model's card.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not a card, or its classes are not ours; names the file.
    """
    path = folder / CARD
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is not a model card: it has more than {MAX_BYTES} bytes")
    try:
        card = ModelCard.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(2, "not found", str(path)) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a model card: {error}") from error
    if card.labels != label_entries() or card.num_classes != NUM_CLASSES:
        raise ValueError(
            f"{path}: its classes differ from those of this version of crossmodalnet: {card.labels}"
        )
    _check_bounds(path, card)
    return card


def _check_bounds(path: Path, card: ModelCard) -> None:
    """Refuse numbers that no network of ours has, and that would take memory without end."""
    for name, size in (("patch_size", card.patch_size), ("size", card.size)):
        if min(size) < 1 or max(size) > MAX_SIZE:
            raise ValueError(f"{path}: {name} must be from 1 to {MAX_SIZE} voxels an axis, got {size}")
        if prod(size) > MAX_VOXELS:
            raise ValueError(f"{path}: {name} must have at most {MAX_VOXELS} voxels, got {size}")
    if not all(0 < spacing <= MAX_SPACING_MM for spacing in card.spacing_mm):
        raise ValueError(
            f"{path}: spacing_mm must be above 0 and at most {MAX_SPACING_MM:g}, got {card.spacing_mm}"
        )
    numbers = list(islice(_numbers(card.network), MAX_NUMBERS + 1))
    if len(numbers) > MAX_NUMBERS:
        raise ValueError(f"{path}: network has more than {MAX_NUMBERS} numbers: no network of this project")
    if not all(number <= MAX_OPTION for number in numbers):  # NaN is none of them
        raise ValueError(f"{path}: network has a number above {MAX_OPTION}: no network of this project")
    try:
        _ = card.intensity
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield abs(value)


def _tuples(value: Any) -> Any:
    """JSON has lists only; networks take tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
