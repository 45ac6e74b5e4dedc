"""Write and read checkpoints and model folders (safetensors) atomically."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from crossmodalnet.errors import DataError
from crossmodalnet.io.outputs import locked, whole_folder
from crossmodalnet.networks.common import card as cards
from crossmodalnet.networks.common.card import BEST, CARD, LAST, LoadedModel, ModelCard
from pipeline.config.variants import is_adaptation

# A single key: the order of several would differ between files.
_KEY = "values"


@dataclass(frozen=True)
class Checkpoint:
    """State of a training: tensors by dotted name, and JSON values with exact floats."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below `prefix.`, without the prefix."""
        start = f"{prefix}."
        return {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prepend `prefix.` to the names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then replace `path`, so a kill leaves the old or the new one."""
    save_tensors(path, checkpoint.tensors, {_KEY: json.dumps(checkpoint.values)})


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write safetensors under a temporary name, flush, and rename."""
    part = path.with_name(f".{path.name}.part")
    # Cloned, since safetensors rejects tensors that share memory.
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, part, metadata)
    part.chmod(0o644)  # safetensors sets 0600
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None if there is none. Raise DataError if it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Checkpoint(tensors, json.loads(file.metadata()[_KEY]))
    except (SafetensorError, OSError, TypeError, KeyError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is damaged ({error}): delete it to train from the start") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state by parameter number and name, such as `3.exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": torch.as_tensor(v) for number, entry in state.items() for name, v in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the tensors, not the settings; a fused optimizer needs moments in their parameter's memory format."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, entry = name.partition(".")
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(number), {})[entry] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def exclusive(folder: Path, patience_s: float = 60.0) -> AbstractContextManager[None]:
    """Lock a work folder (a dead process frees it); raise ResourceError if it stays busy for `patience_s`."""
    problem = f"another training with the same parameters is running (it holds {folder / 'lock'})"
    return locked(folder / "lock", problem, patience_s)


def candidate_file(folder: Path, epoch: int) -> Path:
    """Return the weights file validated after an epoch, counted from 1."""
    return folder / f"epoch{epoch:04d}.safetensors"


def find_candidates(folder: Path) -> dict[int, Path]:
    """Map epochs to files of validated weights, in order."""
    files = {int(file.stem.removeprefix("epoch")): file for file in folder.glob("epoch*.safetensors")}
    return dict(sorted(files.items()))


def save_model(
    folder: Path, card: ModelCard, best: Mapping[str, Tensor], last: Mapping[str, Tensor], others: Iterable[Path] = ()
) -> None:
    """Write a model folder atomically: card, best and last weights, and copies of other weight files."""
    with whole_folder(folder) as new:
        for file in others:
            shutil.copyfile(file, new / file.name)
        save_tensors(new / BEST, best, {"format": "pt"})
        save_tensors(new / LAST, last, {"format": "pt"})
        (new / CARD).write_text(card.model_dump_json(indent=2) + "\n", "utf-8")


def load_model(folder: Path, weights: str = BEST) -> LoadedModel:
    """Rebuild a trained network with weights `BEST` or `LAST`; raise DataError if the folder is damaged."""
    try:
        return cards.load_model(folder, weights)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} not found: {_remedy(folder)}") from error
    except ValueError as error:
        raise DataError(f"{error}: {_remedy(folder)}") from error


def _remedy(folder: Path) -> str:
    model, _, variant = folder.parent.name.partition("-")
    kind = "adapt" if is_adaptation(folder.parent.name) else "ablate" if variant else "train"
    return f"run `dvc repro {kind}@{variant or model}-{folder.name.removeprefix('seed')}`, or `dvc pull`"
