"""A tiny cropped cohort and parameters to train on it in a moment."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from crossmodalnet.imaging.volume import Volume
from pipeline.cropped import CroppedCase, write_cropped
from pipeline.outputs import write_json

SIZE = 16
NETWORK = {
    "channels": 6,
    "depths": [1, 1],
    "heads": [2, 2],
    "cross_window": [[4, 4, 4], None],
    "num_points": [1, 1],
    "drop_path": 0.2,
    "head_channels": 8,
}


def _case(name: str, seed: int) -> CroppedCase:
    """Seven balls of different brightness in noise, different from case to case."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"))
    label = np.zeros((SIZE,) * 3, np.uint8)
    for index in range(1, 8):
        centre = random.uniform(3, SIZE - 3, (3, 1, 1, 1))
        label[((grid - centre) ** 2).sum(0) < 9] = index
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    ct = (label * 60.0 - 100 + random.normal(0, 10, label.shape)).astype(np.float32)
    mr = (900.0 - label * 100 + random.normal(0, 20, label.shape)).astype(np.float32)
    volumes = (Volume(ct, affine), Volume(mr, affine), Volume(label, affine))
    return CroppedCase(name, *volumes, native=volumes[0].grid)


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three training pairs and one validation pair; the current one, and DVC's root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    names = ["a", "b", "c", "d"]
    for seed, name in enumerate(names):
        write_cropped(tmp_path / "data/cropped" / name, _case(name, seed))
    roles = {"train": names[:3], "validation": names[3:], "test": []}
    entries = {role: [{"pair": n, "ct": n, "mr": n} for n in pairs] for role, pairs in roles.items()}
    write_json(tmp_path / "data/split.json", {**entries, "folds": 1, "fold": 0})
    return tmp_path


@pytest.fixture
def set_params(cohort: Path) -> Callable[..., None]:
    """Write params.yaml for the tiny cohort; keywords change keys of `train`, `network` and `losses` theirs."""

    def write(
        network: Mapping[str, Any] = MappingProxyType({}),
        losses: Mapping[str, Any] = MappingProxyType({}),
        **changes: Any,
    ) -> None:
        train = {
            "epochs": 3,
            "samples_per_case": 2,
            "batch_size": 2,
            "patch_size": [SIZE] * 3,
            "num_threads": 1,
            "devices": 1,
        }
        sections = {
            "train": {**train, **changes},
            "network": {"crossmodalnet": {**NETWORK, **network}},
            "losses": dict(losses),
        }
        with (cohort / "params.yaml").open("w") as file:
            YAML(typ="safe").dump(sections, file)

    write()
    return write
