from pathlib import Path

import pytest

from crossmodalnet.errors import UsageError
from pipeline.config.params import Params, load_section, read_raw, validate
from pipeline.config.sections import AdaptSection, TargetConfig, TrainConfig

URLS = f"[{{url: http://x/a.zip, sha256: '{64 * '0'}'}}]"


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
    ("text", "message"),
    [
        ("crop: {margin: 3}", r"crop\.margin: unknown key"),
        ("crop: {margin_mm: '3'}", r"crop\.margin_mm = '3'"),
        ("crop: {margin_mm: -1}", r"crop\.margin_mm = -1: .*greater than or equal to 0"),
        ("crop: {margin_mm: .nan}", r"crop\.margin_mm"),
        ("crop: {roi: heart}", r"crop\.roi = 'heart': .*'atlas' or 'labels'"),
        ("crop: {size: [1, 2]}", r"crop\.size"),
        ("crop: {margin: 3, roi: heart}", "2 bad value"),
        ("split: {folds: 3, fold: 3}", "split: fold 3 does not exist"),
        ("train: {devices: 0}", "devices must be auto or at least 1, got 0"),
        ("train: {devices: all}", r"train\.devices"),
        ("train: {patch_size: [0, 8, 8]}", "patch_size must be positive"),
        ("train: {ct_window_hu: [5.0, 5.0]}", "ct_window_hu must ascend"),
        ("train: {mr_percentiles: [5.0, 101.0]}", "mr_percentiles must ascend"),
        ("train: {epochs: 1.5}", r"train\.epochs = 1\.5"),
        ("losses: {objectives: [dice, dice]}", "entries must differ"),
        ("adapt: {targets: {}}", r"adapt\.targets: unknown key"),
        ("adapt: {scenario: pet_to_ct}", r"adapt\.scenario = 'pet_to_ct'"),
        ("adapt: {target: {source: mmwhs}}", r"adapt\.target: source mmwhs needs a path or urls"),
        ("adapt: {target: {source: unlabelled, path: x}}", "path and urls have no effect with source unlabelled"),
        ("data: {path: /data}", "path and urls have no effect with source phantom"),
        (f"data: {{urls: {URLS}}}", "path and urls have no effect with source phantom"),
        (f"data: {{source: table, path: x, urls: {URLS}}}", "urls have no effect with source table"),
        ("data: {source: table, labels: {LV: 1, liver: 2}}", "unknown structure 'liver'"),
        ("data: {source: table, labels: {LV: true}}", r"^params\.yaml: data\.labels: [^\n]*$"),
        ("data: {source: table, labels: mmvhs}", r"^params.yaml: data.labels = 'mmvhs': did you mean mmwhs\? [^\n]*$"),
        ("data: {source: mmwhs, path: x, labels: index}", "are of source table, got source mmwhs"),
        ("data: {source: mmwhs, path: x, missing: [PA]}", "are of source table, got source mmwhs"),
        ("network: {crossmodalnet: {heads: [4]}}", r"network\.crossmodalnet: heads must have one"),
        ("ablations: [no_head]", r"ablations\.0 = 'no_head': .*'no_cross'"),
    ],
)
def test_bad_values_name_key_value_and_rule(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        validate(Params, read_raw(written(tmp_path, text)), "")


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
