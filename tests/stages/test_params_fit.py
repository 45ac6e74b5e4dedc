from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from crossmodalnet.imaging.nifti import read_label_map, write_image, write_label_map
from crossmodalnet.imaging.structures import NUM_CLASSES, Modality
from crossmodalnet.networks.common.build import build_network
from pipeline.cohort.pairs import Subject, write_manifest
from pipeline.config import presets
from pipeline.config.params import Params, read_raw, validate
from pipeline.config.render import render
from pipeline.preparation.cropping import CropTask, crop_case
from pipeline.training.params import read_params
from stages.params import app


@pytest.fixture
def project(
    scan: Callable[..., Any], centred: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The preset smoke, and three CT and three MR subjects whose hearts it would cut."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(render(presets.load("smoke")), "utf-8")
    subjects, shape = [], (34, 34, 34)
    for modality, number in product(Modality, range(4)):
        name = f"{modality.value}_{number}"
        volumes = scan(modality.value, centred(9.0, shape), shape=shape, scale=2.0 + 0.1 * number)
        image, label = (tmp_path / f"data/raw/{name}_{kind}.nii.gz" for kind in ("image", "label"))
        write_image(image, volumes[0])
        write_label_map(label, volumes[1])
        subjects.append(Subject(name, modality, image, label))
    write_manifest(tmp_path / "data/raw/manifest.csv", subjects)
    return tmp_path


def fit(*arguments: str) -> str:
    command = ["fit", "--device", "cpu", "--memory", "4", *arguments]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    return result.output


def test_what_it_writes_cuts_no_heart_and_can_be_trained(project: Path) -> None:
    assert "training hearts of up to" in fit()
    params = validate(Params, read_raw(), "")
    assert params.crop.spacing_mm >= 9.0
    for number in range(4):
        image, label = (project / f"data/raw/ct_{number}_{kind}.nii.gz" for kind in ("image", "label"))
        task = CropTask("p", {Modality.CT: image}, {Modality.CT: label}, (), params.crop, project / "cropped")
        row = crop_case(task)
        assert not any(count for name, count in row.items() if name.startswith("cut_"))
        assert read_label_map(project / "cropped/label.nii.gz").data.shape == params.crop.size
    options, size = read_params("crossmodalnet").options, params.train.patch_size
    network = build_network("crossmodalnet", options, patch_size=size, num_classes=NUM_CLASSES)
    logits = network.train()(torch.rand(2, 2, *size))
    sum(level.square().mean() for level in logits).backward()


def test_a_dry_run_changes_nothing_and_other_keys_stay(project: Path) -> None:
    before = (project / "params.yaml").read_text("utf-8")
    assert "would hold" in fit("--dry-run")
    assert (project / "params.yaml").read_text("utf-8") == before
    fit()
    old, new = presets.load("smoke").model_dump(), validate(Params, read_raw(), "").model_dump()
    assert {key for key in old if old[key] != new[key]} <= {"crop", "train", "network", "runtime"}
    for part, keys in (("crop", {"spacing_mm", "size"}), ("train", {"patch_size", "batch_size"})):
        assert {key for key in old[part] if old[part][key] != new[part][key]} <= keys


def test_a_gpu_elsewhere_needs_its_memory(project: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    result = CliRunner().invoke(app, ["fit", "--device", "cuda"])
    assert "give its memory" in str(result.exception)
