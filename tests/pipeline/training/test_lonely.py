"""One process of several, the others of which never come."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

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
