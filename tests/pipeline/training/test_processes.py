import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
import torch

from crossmodalnet.errors import DataError, InterruptedRunError, ResourceError, UsageError
from pipeline.training.processes import (
    LAUNCHER,
    OUTCOME,
    num_processes,
    process_group,
    run_on_devices,
    start_processes,
    stop_requests,
)

TOP = Path(__file__).resolve().parents[3]
LOSSES = ["loss", "loss_dice", "loss_ce", "weight_dice", "weight_ce"]


@pytest.fixture
def stages(monkeypatch):
    """Make this working copy's packages importable to processes started from elsewhere, one thread each."""
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    return [sys.executable, "-m", "stages"]


@pytest.mark.slow
@pytest.mark.parametrize("cmif", [pytest.param(0.0, marks=pytest.mark.stress), 0.1])
def test_two_processes_have_the_losses_of_one(cohort, set_params, stages, cmif):
    from stages.train import main

    curves = []
    for devices in (1, 2):
        set_params(epochs=2, validate_every=1, batch_size=4, devices=devices, losses={"cmif": cmif})
        for path in cohort.rglob(".work/train/*/*"):
            path.unlink()
        main("crossmodalnet")
        curves.append(pd.read_csv("curves/crossmodalnet/seed0.csv"))
    named = [*LOSSES, *["loss_cmif"] * bool(cmif)]
    one, two = (table[named] for table in curves)
    pd.testing.assert_frame_equal(one, two, rtol=0, atol=2e-5)
    # Logits agree to 1e-4, so a voxel between two classes may flip: 1e-3 of the mean Dice in the smallest one.
    one, two = (table["val_dice"] for table in curves)
    pd.testing.assert_series_equal(one, two, rtol=0, atol=2e-3)


@pytest.mark.stress
def test_two_processes_adapt_as_one_does(target, cohort, set_params, stages):
    from stages.train import main

    curves = []
    for devices in (1, 2):
        adapt = {"enabled": True, "start": 0.4, "volumes": 0.1, "confidence": 0.1}
        set_params(epochs=8, validate_every=1, batch_size=4, devices=devices, adapt=adapt)
        main("crossmodalnet")
        curves.append(pd.read_csv("curves/crossmodalnet/seed0.csv"))
        for path in cohort.rglob(".work/train/*/*"):
            path.unlink()
    one, two = curves
    assert list(one) == list(two)
    losses = two[[name for name in two if name.startswith("loss_")]]
    assert (losses.max() > 0).all()  # the topology is not that of every step
    assert losses.iloc[0, 2:].isna().all()  # of the source alone as yet
    assert losses.iloc[0, :2].notna().all()
    for name in ("loss_dice", "loss_ce"):
        assert two[name].to_numpy() == pytest.approx(one[name].to_numpy(), abs=0.02)
    assert two["target_entropy"].to_numpy() == pytest.approx(one["target_entropy"].to_numpy(), abs=0.05)


@pytest.mark.slow
def test_errors_of_the_processes_come_back_once(cohort, set_params, stages, capfd):
    set_params(batch_size=3, devices=2)
    with pytest.raises(UsageError, match=r"train\.batch_size = 3 .* 2 processes"):
        start_processes(2, ["train", "--model", "crossmodalnet"])
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_sigterm_reaches_the_processes_and_comes_back_as_75(cohort, set_params, stages):
    set_params(epochs=1000, devices=2)
    command = [*stages, "train", "--model", "crossmodalnet"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 2/"):
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 75
    assert "run it again to go on from there" in " ".join(rest.split())  # wrapped at the width of a terminal
    assert len(list(cohort.rglob(".work/train/*/checkpoint.safetensors"))) == 1


def test_a_slurm_task_trains_alone_and_is_told_so(monkeypatch, caplog):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("RANK", "")  # compose files write empty variables
    worlds = []
    run_on_devices(lambda processes: worlds.append(processes.world_size), devices=1, batch_size=2, command=[])
    assert worlds == [1]
    assert "start torchrun once per node" in caplog.text


def test_a_launched_process_hands_its_error_over(tmp_path, monkeypatch):
    monkeypatch.setenv(OUTCOME, str(tmp_path / "outcome"))

    def fail(processes):
        raise DataError("what and where")

    run_on_devices(fail, devices=1, batch_size=2, command=[])
    assert '"DataError"' in (tmp_path / "outcome").read_text("utf-8")


def test_a_signal_is_noted_and_handlers_go_back():
    before = signal.getsignal(signal.SIGINT)
    with stop_requests() as is_stopped:
        assert not is_stopped()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert is_stopped()
    assert signal.getsignal(signal.SIGINT) is before


def _is_stopped():
    with stop_requests() as is_stopped:
        return is_stopped()


def test_a_launcher_that_died_is_a_reason_to_stop(monkeypatch):
    with subprocess.Popen([sys.executable, "-c", ""]) as launcher:
        monkeypatch.setenv(LAUNCHER, str(launcher.pid))
        os.waitid(os.P_PID, launcher.pid, os.WEXITED | os.WNOWAIT)
        assert _is_stopped()  # a zombie
    assert _is_stopped()
    monkeypatch.setenv(LAUNCHER, str(os.getpid()))
    assert not _is_stopped()


def test_a_stop_before_training_is_an_interruption(monkeypatch):
    def wait():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.01)
        return 1

    child = Mock(wait=wait)
    monkeypatch.setattr(subprocess, "Popen", Mock(return_value=child))
    with pytest.raises(InterruptedRunError, match="before training had begun"):
        start_processes(2, [])
    child.send_signal.assert_called_once_with(signal.SIGTERM)


@pytest.mark.parametrize(("gpus", "devices", "count"), [(0, "auto", 3), (4, "auto", 4), (4, 2, 2), (0, 3, 3)])
def test_number_of_processes(monkeypatch, gpus, devices, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    assert num_processes(devices, batch_size=6) == count


@pytest.mark.parametrize(("batch_size", "count"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 1), (8, 4), (9, 3)])
def test_processes_on_the_cpu_have_two_samples_each(monkeypatch, batch_size, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    assert num_processes("auto", batch_size) == count


def test_more_devices_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ResourceError, match=r"train\.devices = 3, but this machine has 2"):
        num_processes(3, batch_size=6)


def test_a_single_process_talks_to_itself():
    with process_group() as processes:
        assert processes.is_main
        assert processes.sum([1.5, 2.0]) == [1.5, 2.0]
        assert processes.gather("x") == ["x"]
        assert processes.broadcast("x") == "x"
