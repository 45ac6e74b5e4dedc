"""A tiny cropped cohort and parameters to train on it in a moment."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from crossmodalnet.imaging.nifti import write_label_map
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.io.outputs import write_json
from pipeline.preparation.cases import CroppedCase, write_cropped
from pipeline.training.learner import Learner
from pipeline.training.processes import Processes

SIZE = 16
ALONE = Processes(0, 1, 1, torch.device("cpu"))
NETWORK = {"channels": 6, "depths": [1, 1], "heads": [2, 2], "num_points": [1, 1], "head_channels": 8}
NETWORK |= {"window": [4, 4, 4], "cross_window": [[4, 4, 4], None]}
NETWORK |= {"patch_embedding": [2, 2, 2], "stem_channels": [2]}
TRAIN = {"epochs": 3, "samples_per_case": 2, "batch_size": 2, "patch_size": [SIZE] * 3}
TRAIN |= {"num_threads": 1, "devices": 1}
NOTHING: Mapping[str, Any] = MappingProxyType({})


def make_case(name: str, seed: int) -> CroppedCase:
    """Seven balls of different brightness in noise, different from case to case; the MR's label is a voxel off."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"))
    label = np.zeros((SIZE,) * 3, np.uint8)
    for index in range(1, 8):
        centre = random.uniform(3, SIZE - 3, (3, 1, 1, 1))
        label[((grid - centre) ** 2).sum(0) < 9] = index
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    ct = (label * 60.0 - 100 + random.normal(0, 10, label.shape)).astype(np.float32)
    mr = (900.0 - label * 100 + random.normal(0, 20, label.shape)).astype(np.float32)
    volumes = [Volume(data, affine) for data in (ct, mr, label)]
    mr_label = Volume(np.roll(label, 1, axis=0), affine)
    return CroppedCase(name, *volumes, native=volumes[0].grid, mr_label=mr_label)


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three training pairs and one validation pair; the current one, and DVC's root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    names = ["a", "b", "c", "d"]
    for seed, name in enumerate(names):
        write_cropped(tmp_path / "data/cropped" / name, make_case(name, seed))
    roles = {"train": names[:3], "validation": names[3:], "test": []}
    entries = {role: [{"pair": n, "ct": n, "mr": n} for n in pairs] for role, pairs in roles.items()}
    write_json(tmp_path / "data/split.json", {**entries, "folds": 1, "fold": 0})
    return tmp_path


@pytest.fixture
def target(cohort: Path) -> Path:
    """A target domain for the cohort, darker and with labels apart: three cases to train, one to validate and test."""
    folder, labels = cohort / "data/target", cohort / "data/target_labels"
    names = ["p", "q", "r", "s", "t"]
    for seed, name in enumerate(names, start=10):
        case = make_case(name, seed)
        assert case.ct
        assert case.mr
        assert case.label
        dim = [Volume(v.data * 0.5, v.affine) for v in (case.ct, case.mr)]
        write_cropped(folder / "target" / name, CroppedCase(name, *dim, label=None, native=case.native))
        for file in ("label.nii.gz", "native.nii.gz"):
            write_label_map(labels / name / file, case.label)
    roles = {"train": names[:3], "validation": names[3:4], "test": names[4:]}
    write_json(folder / "domain.json", {"scenario": "cohort", "source": None, "target": roles})
    (labels / "cases.json").write_text(json.dumps(names))
    return folder


@pytest.fixture
def set_params(cohort: Path) -> Callable[..., None]:
    """Write params.yaml for the tiny cohort; keywords change keys of `train`, the others those of theirs."""

    def write(network=NOTHING, losses=NOTHING, adapt=NOTHING, augment=NOTHING, **train: Any) -> None:
        sections = {"losses": dict(losses), "adapt": dict(adapt), "augment": dict(augment)}
        sections |= {"network": {"crossmodalnet": {**NETWORK, **network}}, "train": {**TRAIN, **train}}
        with (cohort / "params.yaml").open("w") as file:
            YAML(typ="safe").dump(sections, file)

    write()
    return write


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], dict[int, Callable[[], object]]]:
    """Collect what training steps give, and call `at[number]()` after the step of that number."""
    taken, at, step = [], {}, Learner.step

    def counted(self, *arguments, **keywords):
        taken.append(step(self, *arguments, **keywords))
        at.get(len(taken), lambda: None)()
        return taken[-1]

    monkeypatch.setattr(Learner, "step", counted)
    return taken, at
