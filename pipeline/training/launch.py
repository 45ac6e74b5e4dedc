"""Run a stage in one process per device by starting it again under torchrun."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

from crossmodalnet import errors
from crossmodalnet.errors import CrossModalNetError, InterruptedRunError, ResourceError
from crossmodalnet.io.outputs import write_json
from crossmodalnet.processes import scratch_folder
from pipeline.training.processes import Processes, detect_launch, num_processes, process_group

# Variable for child processes: the error file, and the stage's process.
OUTCOME = "CROSSMODALNET_OUTCOME"
LAUNCHER = "CROSSMODALNET_LAUNCHER"
SHUTDOWN_SECONDS = 600


def run_on_devices(
    work: Callable[[Processes], None], *, devices: int | str, batch_size: int, command: list[str]
) -> None:
    """Run a stage's work in one process per device, and raise the errors of any process.

    Args:
        devices: `train.devices`; ignored under an outer launcher.
        command: arguments of `python -m stages` that lead here again.
    """
    launch = detect_launch(os.environ)
    if launch is None and (count := num_processes(devices, batch_size)) > 1:
        start_processes(count, command)
        return
    try:
        with process_group(launch) as processes:
            work(processes)
    except CrossModalNetError as error:
        # The parent stage reports the error once.
        if OUTCOME not in os.environ:
            raise
        write_json(Path(os.environ[OUTCOME]), {"kind": type(error).__name__, "message": str(error)})


def start_processes(count: int, command: list[str]) -> None:
    """Run `python -m stages COMMAND` in `count` processes under torchrun, forwarding signals and errors.

    Raises:
        InterruptedRunError: stopped by a signal before the training began.
        ResourceError: the processes died without one of our errors; see stderr.
    """
    with scratch_folder() as folder:
        outcome = folder / "outcome.json"
        environment = {
            **os.environ,
            OUTCOME: str(outcome),
            LAUNCHER: str(os.getpid()),
            "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // count)),
        }
        torchrun = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1",
            f"--nproc-per-node={count}", f"--shutdown-timeout={SHUTDOWN_SECONDS}", f"--log-dir={folder}/logs",
            "-m", "stages",
        ]  # fmt: skip
        # Its own session, so Ctrl-C reaches it once, through this process.
        child = subprocess.Popen([*torchrun, *command], env=environment, start_new_session=True)
        received: list[int] = []

        def forward(number: int, frame: FrameType | None) -> None:
            if not received:
                child.send_signal(signal.SIGTERM)
            received.append(number)

        with _handling_signals(forward):
            code = child.wait()
        if outcome.exists():
            content = json.loads(outcome.read_text("utf-8"))
            raise getattr(errors, content["kind"])(content["message"])
    if received:
        raise InterruptedRunError("stopped before training had begun; run the stage again")
    if code:
        raise ResourceError(f"a training process failed (torchrun's exit code {code}); its message is above")


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Catch SIGTERM and SIGINT; yield a function that returns True after one, or if the parent was killed."""
    received: list[int] = []
    launcher = int(os.environ.get(LAUNCHER, 0))
    with _handling_signals(lambda number, frame: received.append(number)):
        yield lambda: bool(received) or bool(launcher and not _is_alive(launcher))


@contextmanager
def _handling_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
