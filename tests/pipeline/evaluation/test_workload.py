import dataclasses
import itertools
import math
import mmap
import time
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel
from ruamel.yaml import YAML
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from crossmodalnet.errors import ResourceError, UsageError
from crossmodalnet.networks.common import build
from crossmodalnet.networks.common.parameters import count_flops, count_parameters
from crossmodalnet.processes import run_alone
from pipeline.config.sections import CropConfig, EvaluateConfig, LossesConfig, ProfileConfig, TrainConfig
from pipeline.evaluation import workload as measuring
from pipeline.evaluation.profile import spread
from pipeline.evaluation.workload import Workload, measure_memory, profile_network, read_workload

DVC_YAML = Path(__file__).parents[3] / "dvc.yaml"
CPU = torch.device("cpu")
ROUNDS = ProfileConfig(repetitions=3)


class _Attention(nn.Module):
    def forward(self, x):  # two heads with two channels each
        tokens = x.flatten(2).unflatten(1, (2, -1)).transpose(-1, -2)
        return scaled_dot_product_attention(tokens, tokens, tokens)


def build_two(config, patch_size, num_classes):
    if config:
        raise ValueError(f"unknown option {next(iter(config))}")
    return nn.Sequential(nn.Conv3d(2, 3, 3, padding=1), nn.Conv3d(3, num_classes, 1))


@pytest.fixture
def work(monkeypatch):
    """A network of two convolutions, known to this process alone."""
    monkeypatch.setitem(build.BUILDERS, "two", (__name__, "build_two"))
    train = TrainConfig(patch_size=(6, 5, 4), batch_size=2)
    return Workload("two", {}, train, LossesConfig(), (9, 5, 4), 0.5, CPU, num_threads=1, seed=0)


@pytest.mark.parametrize(
    ("network", "flops"),
    [
        (nn.Conv3d(4, 6, 3, padding=1, bias=False), 2 * 6 * 4 * 27 * 60),
        (nn.Conv3d(4, 6, 3, padding=1, groups=2), 2 * 6 * 2 * 27 * 60),
        (nn.Conv3d(4, 8, 2, stride=2), 2 * 8 * 4 * 8 * (2 * 2 * 1)),
        (nn.ConvTranspose3d(4, 8, 2, stride=2), 2 * 8 * 4 * 8 * 60),
        (nn.Linear(3, 7), 2 * 3 * 7 * 4 * 4 * 5),
        (_Attention(), 2 * 2 * (60 * 60 * 2) * 2),
        (nn.GELU(), 0),
    ],
)
def test_flops_by_hand(network, flops):
    image = torch.zeros(1, 4, 4, 5, 3)  # 60 voxels
    assert [count_flops(network, image) for _ in range(2)] == [flops, flops]


def test_flops_are_of_evaluation_mode_which_is_left_again():
    network = nn.Sequential(nn.Conv3d(2, 2, 1), nn.Dropout())
    modes = []
    network[1].register_forward_hook(lambda module, *_: modes.append(module.training))
    count_flops(network, torch.zeros(1, 2, 2, 2, 2))
    assert modes == [False]
    assert network.training


def test_parameters_by_hand():
    network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4))
    network.append(network[1])  # shared: counts once
    network[2].weight.requires_grad_(False)
    assert count_parameters(network) == 3 * 5 + 5 + 5 * 4 + 4


def test_spread_by_hand():
    assert dataclasses.astuple(spread(torch.tensor([4.0, 1, 3, 2, 6]).numpy())) == (3, 2, 4)


def test_actions_are_timed_in_turn(monkeypatch):
    ticks, order = itertools.count(), []
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: float(next(ticks)))
    actions = [lambda: order.append("a") or next(ticks), lambda: order.append("b")]
    seconds = measuring.time_in_turn(actions, ProfileConfig(repetitions=4), CPU)
    assert "".join(order) == "ab" * 6
    assert seconds.tolist() == [[2.0] * 4, [1.0] * 4]


def test_slow_actions_are_timed_three_times(monkeypatch):
    monkeypatch.setattr(ProfileConfig, "max_seconds", 1e-9)
    done, rounds = [], ProfileConfig(repetitions=9)
    assert measuring.time_in_turn([lambda: done.append(1)], rounds, CPU).shape == (1, 3)
    assert len(done) == 2 + 3


def test_the_peak_is_found_after_the_memory_is_free_again():
    def fill():
        # 64 MiB that cannot come from what the process has already, for as long as a busy machine may need to look.
        with mmap.mmap(-1, 2**26) as block:
            for page in range(0, 2**26, mmap.PAGESIZE):
                block[page] = 1
            time.sleep(0.5)

    before = measuring.memory_in_use(CPU)
    assert 60 < (measuring.peak_memory(CPU, fill) - before) / 2**20 < 100


def test_what_is_loaded_once_is_no_memory_of_the_network(work, monkeypatch):
    loaded, build = [], Workload.build

    def first_build_loads(self):
        if not loaded:
            loaded.append(torch.ones(2**24))  # 64 MiB that stay, as imported modules do
        return build(self)

    monkeypatch.setattr(Workload, "build", first_build_loads)
    assert measure_memory(work)[1] < 32


@pytest.mark.stress
def test_memory_is_that_of_live_tensors(work):
    """In processes of their own, as a stage has it: the heap of one that has computed before has holes."""
    size = (48, 48, 48)
    train = work.train.model_copy(update={"patch_size": size})
    options = {"size": "small", "deep_supervision": False, "checkpointing": False}
    large = dataclasses.replace(work, model="resenc_unet", options=options, train=train, case_size=size)
    first, second = (run_alone(measure_memory, large) for _ in range(2))
    weights = count_parameters(large.build()) * 4 / 2**20
    assert weights + 3.3 < first[1]  # 8 classes of 48^3 voxels are 3.4 MiB
    assert max(first[1], 4 * weights) < first[0]  # gradients and Adam's two moments besides
    assert second == pytest.approx(first, rel=0.2)


def test_a_profile_is_complete(work):
    content = dataclasses.asdict(profile_network(work, ROUNDS))
    assert content["parameters"] == 3 * 2 * 27 + 3 + 8 * 3 + 8
    assert content["flops"] == 2 * (3 * 2 * 27 + 8 * 3) * 120
    assert (content["batch_size"], content["patch_size"], content["case_size"]) == (2, (6, 5, 4), (9, 5, 4))
    assert (content["threads"], content["repetitions"]) == (1, 3)
    for name in ("step_seconds", "step_ratio", "inference_seconds", "inference_ratio"):
        assert 0 < content[name]["low"] <= content[name]["median"] <= content[name]["high"] < math.inf
    for name in ("reference_seconds", "reference_inference_seconds", "step_memory_mb", "inference_memory_mb"):
        assert math.isfinite(content[name])
    assert content["reference_seconds"] > 0


def test_steps_leave_the_weights_as_they_are(work):
    network = work.build()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    work.step(network)()
    assert all(bool(parameter.grad.any()) for parameter in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_step_holds_the_loss_of_the_alignment(work):
    options = {"align": True, "channels": 12, "depths": (0, 1), "heads": (1, 2), "deformable": False}
    train = work.train.model_copy(update={"patch_size": (16, 16, 16)})
    aligned = dataclasses.replace(work, model="crossmodalnet", options=options, train=train)
    network = aligned.build()
    aligned.step(network)()
    assert network.alignment.log_scale.grad is not None


def test_errors(work, monkeypatch):
    with pytest.raises(UsageError, match=r"network\.two with train\.patch_size \(6, 5, 4\): unknown option"):
        dataclasses.replace(work, options={"x": 1}).build()

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(measuring, "_profile", full)
    with pytest.raises(ResourceError, match=r"two: a batch of 2 patches of \(6, 5, 4\) does not fit"):
        profile_network(work, ROUNDS)


def test_the_work_of_an_ablation(cohort, set_params):
    with (cohort / "params.yaml").open("a") as file:
        file.write("crop: {size: [24, 24, 24]}\n")
    _, whole = read_workload("crossmodalnet", None, ROUNDS)
    name, work = read_workload("crossmodalnet", "no_cross", ROUNDS)
    assert name == "crossmodalnet-no_cross"
    assert count_parameters(work.build()) < count_parameters(whole.build())
    assert (work.train.patch_size, work.case_size) == ((16, 16, 16), (24, 24, 24))
    with pytest.raises(UsageError, match="no model 'no_such_network'"):
        read_workload("no_such_network", None, ROUNDS)


def test_dvc_yaml_names_every_value_that_a_profile_depends_on(cohort, set_params, monkeypatch):
    read = set()
    for section, params in (("train", TrainConfig), ("crop", CropConfig), ("evaluate", EvaluateConfig)):

        def note(self, name, section=section, fields=frozenset(params.model_fields)):
            if name in fields:
                read.add(f"{section}.{name}")
            return super(BaseModel, self).__getattribute__(name)

        monkeypatch.setattr(params, "__getattribute__", note, raising=False)
    _, work = read_workload("crossmodalnet", None, ProfileConfig())
    work.step(work.build())()
    work.inference(work.build())()
    stage = YAML(typ="safe", pure=True).load(DVC_YAML.read_text("utf-8"))["stages"]["profile"]
    named = {name for name in stage["params"] if "." in name and not name.startswith("network.")}
    # A step takes as long with any rate and any decay; the others are only checked when they are read from the file.
    without_effect = {"train.lr", "train.devices", "train.ct_window_hu", "train.mr_percentiles"}
    assert read - named == without_effect
    assert named - read == {"train.mixed_precision"}  # looked at on a GPU only
