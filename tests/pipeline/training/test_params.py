import pytest

from crossmodalnet.errors import UsageError
from pipeline.config.params import load_section, validate
from pipeline.config.sections import AugmentConfig, LossesConfig, TrainConfig


def test_numbers_as_dvc_writes_them(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("train: {lr: 1e-05, patch_size: [32, 32, 16], devices: 2}\n")
    params = load_section(TrainConfig, "train", path=path)
    assert (params.lr, params.patch_size, params.devices) == (1e-5, (32, 32, 16), 2)


def test_how_it_is_run_is_not_what_comes_out():
    one, two = TrainConfig(devices=1, num_threads=1), TrainConfig(devices=2, checkpoint_every=7)
    assert one.essential() == two.essential() != TrainConfig(lr=1.0).essential()


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (TrainConfig, {"devices": 0}, "devices must be auto or at least 1, got 0"),
        (TrainConfig, {"devices": "all"}, r"train\.devices"),
        (TrainConfig, {"patch_size": [0, 8, 8]}, "patch_size must be positive"),
        (TrainConfig, {"ct_window_hu": [5.0, 5.0]}, "ct_window_hu must ascend"),
        (TrainConfig, {"mr_percentiles": [5.0, 101.0]}, "mr_percentiles must ascend"),
        (TrainConfig, {"epochs": 1.5}, r"train\.epochs = 1\.5"),
        (TrainConfig, {"learning_rate": 0.1}, r"train\.learning_rate: unknown key"),
        (LossesConfig, {"objectives": ["dice", "dice"]}, "objectives must differ"),
        (AugmentConfig, {"gamma": [1.5, 0.5]}, "gamma must be two positive numbers"),
    ],
)
def test_impossible_values(section, values, message):
    with pytest.raises(UsageError, match=message):
        validate(section, values, "train")
