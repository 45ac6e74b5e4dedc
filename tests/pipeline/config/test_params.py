"""Reading of params.yaml: numbers, unknown keys, impossible values."""

from pathlib import Path
from typing import Any

import pytest

from crossmodalnet.config import Config
from crossmodalnet.errors import UsageError
from pipeline.config.params import Params, load_section, read_raw, validate
from pipeline.config.sections import (
    AdaptSection,
    CropConfig,
    DataConfig,
    LossesConfig,
    SplitConfig,
    TargetConfig,
    TrainConfig,
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def test_numbers_as_dvc_writes_them(tmp_path: Path) -> None:
    # PyYAML would read 1e-05 as text.
    path = written(tmp_path, "train: {lr: 1e-05, patch_size: [32, 32, 16], devices: 2}\n")
    params = load_section(TrainConfig, "train", path=path)
    assert (params.lr, params.patch_size, params.devices) == (1e-5, (32, 32, 16), 2)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (CropConfig, {"margin": 3}, r"at\.margin: unknown key"),
        (CropConfig, {"margin_mm": "3"}, r"at\.margin_mm = '3'"),
        (CropConfig, {"margin_mm": -1}, r"at\.margin_mm = -1: .*greater than or equal to 0"),
        (CropConfig, {"margin_mm": float("nan")}, r"at\.margin_mm"),
        (CropConfig, {"roi": "heart"}, r"at\.roi = 'heart': .*'atlas' or 'labels'"),
        (CropConfig, {"size": [1, 2]}, r"at\.size"),
        (CropConfig, {"margin": 3, "roi": "heart"}, "2 bad value"),
        (SplitConfig, {"folds": 3, "fold": 3}, "at: fold 3 does not exist"),
        (TrainConfig, {"devices": 0}, "devices must be auto or at least 1, got 0"),
        (TrainConfig, {"devices": "all"}, r"at\.devices"),
        (TrainConfig, {"patch_size": [0, 8, 8]}, "patch_size must be positive"),
        (TrainConfig, {"ct_window_hu": [5.0, 5.0]}, "ct_window_hu must ascend"),
        (TrainConfig, {"mr_percentiles": [5.0, 101.0]}, "mr_percentiles must ascend"),
        (TrainConfig, {"epochs": 1.5}, r"at\.epochs = 1\.5"),
        (LossesConfig, {"objectives": ["dice", "dice"]}, "entries must differ"),
        (AdaptSection, {"targets": {}}, r"at\.targets: unknown key"),
        (AdaptSection, {"target": {"source": "mmwhs"}}, r"at\.target: source mmwhs needs a path or urls"),
        (DataConfig, {"path": "/data"}, "path and urls have no effect with source phantom"),
        (
            Params,
            {"network": {"crossmodalnet": {"heads": [4]}}},
            r"network\.crossmodalnet: heads must have one",
        ),
        (Params, {"ablations": ["no_head"]}, r"ablations\.0 = 'no_head': .*'no_cross'"),
    ],
)
def test_bad_values_name_key_value_and_rule(section: type[Config], values: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        validate(section, values, "at")


@pytest.mark.parametrize("text", ["trian: {lr: 1}", "[1, 2]", "a: [", "a: 1\na: 2"])
def test_files_that_are_no_parameters(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        read_raw(written(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run from the top"):
        read_raw(tmp_path / "params.yaml")


def test_devices_and_threads_are_not_essential() -> None:
    one, two = TrainConfig(devices=1, num_threads=1), TrainConfig(devices=2, num_threads=7)
    assert one.essential() == two.essential() != TrainConfig(lr=1.0).essential()


def test_adaptation_is_off_by_default() -> None:
    adapt = AdaptSection()
    assert (adapt.enabled, adapt.scenario, adapt.target.source) == (False, "cohort", "phantom")


def test_target_is_laid_out_like_a_cohort() -> None:
    data = TargetConfig(source="mmwhs", path=["a.zip", "b"]).as_data()
    assert (data.source, data.path, data.max_unpacked_gb) == ("mmwhs", ["a.zip", "b"], 60.0)
    phantom = TargetConfig().as_data().phantom
    assert (phantom.seed, phantom.num_unlabelled, phantom.scanner) == (1, 0, "other")
    with pytest.raises(ValueError, match="must be phantom or mmwhs"):
        TargetConfig(source="unlabelled").as_data()
