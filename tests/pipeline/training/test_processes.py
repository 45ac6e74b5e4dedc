import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from crossmodalnet.errors import ResourceError
from pipeline.training.processes import detect_launch, first_host, num_processes, process_group

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "n1", "MASTER_PORT": "77",
}  # fmt: skip
SLURM = {
    "SLURM_PROCID": "9", "SLURM_LOCALID": "1", "SLURM_NTASKS": "16", "SLURM_STEP_ID": "0",
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_NUM_TASKS": "16", "SLURM_STEP_TASKS_PER_NODE": "8(x2)", "SLURM_JOB_NODELIST": "gpu[07-08]",
}  # fmt: skip


def test_torchrun():
    launch = detect_launch(TORCHRUN)
    assert launch is not None
    assert (launch.rank, launch.world_size, launch.local_rank, launch.local_world_size) == (5, 8, 1, 4)
    assert (launch.address, launch.port) == ("n1", 77)


def test_slurm():
    launch = detect_launch(SLURM)
    assert launch is not None
    assert (launch.rank, launch.world_size, launch.local_rank, launch.local_world_size) == (9, 16, 1, 8)
    assert (launch.address, launch.port) == ("gpu07", 20000 + 1234567 % 20000)


@pytest.mark.parametrize("missing", ["SLURM_PROCID", "SLURM_STEP_ID"])
def test_a_batch_script_is_not_a_task(missing):
    assert detect_launch({name: value for name, value in SLURM.items() if name != missing}) is None


def test_a_single_task_or_nothing_is_no_launch():
    assert detect_launch({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert detect_launch({}) is None


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("gpu[007-010,12],x", "gpu007"),
        ("a[3,5]", "a3"),
        ("a[1-2]-ib,b", "a1-ib"),
    ],
)
def test_first_host(nodes, host):
    assert first_host(nodes) == host


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
    with process_group(None) as processes:
        assert processes.is_main
        assert processes.sum([1.5, 2.0]) == processes.mean([1.5, 2.0]) == [1.5, 2.0]
        assert processes.gather("x") == ["x"]
        assert processes.broadcast("x") == "x"


def test_empty_variables_are_none():
    assert detect_launch({"RANK": "", "WORLD_SIZE": "", "SLURM_PROCID": " ", "SLURM_NTASKS": ""}) is None


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"},
    ],
)
def test_variables_that_name_no_process_are_an_error_that_names_them(environment):
    with pytest.raises(ResourceError, match=r"RANK|SLURM"):
        detect_launch(environment)


TOP = Path(__file__).resolve().parents[3]
WAIT = """
import logging, os
from pipeline.training.processes import detect_launch, process_group
logging.basicConfig(format="%(message)s")
with process_group(detect_launch(os.environ)):
    pass
"""


@pytest.mark.slow
def test_it_says_for_whom_it_waits() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    slurm = {
        "SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4",
        "SLURM_JOB_NODELIST": "localhost", "MASTER_PORT": str(port), "PYTHONPATH": str(TOP), "RANK": "",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT], env={**kept, **slurm}, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr
        with process.stderr as lines:
            said = next(line for line in lines if "waiting" in line)
    finally:
        process.kill()
        process.wait()
    assert f"process 0 is waiting for the other 3 of 4 processes at localhost:{port}" in said
    assert "SLURM" in said
