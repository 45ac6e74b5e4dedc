"""Running a stage in as many processes as there are devices: it starts itself again under torchrun."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

from crossmodalnet import errors
from crossmodalnet.errors import CrossModalNetError, InterruptedRunError, ResourceError
from crossmodalnet.io.outputs import write_json
from pipeline.training.processes import Processes, detect_launch, num_processes, process_group

# Set for the processes that a stage starts: where they tell it what went wrong, and whom they work for.
OUTCOME = "CROSSMODALNET_OUTCOME"
LAUNCHER = "CROSSMODALNET_LAUNCHER"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
SHUTDOWN_SECONDS = 600


def run_on_devices(
    work: Callable[[Processes], None], *, devices: int | str, batch_size: int, command: list[str]
) -> None:
    """Do the work of a stage, in several processes where there are several devices.

    Args:
        work: work of each process.
        batch_size: `train.batch_size`, which the processes share.
        devices: `train.devices`; does not matter where a launcher has already started several processes.
        command: arguments of `python -m stages` that lead here again.

    Raises:
        CrossModalNetError: what the work raised, in whichever process.
    """
    launch = detect_launch(os.environ)
    if launch is None and (count := num_processes(devices, batch_size)) > 1:
        start_processes(count, command)
        return
    with _reporting_outcome(), process_group(launch) as processes:
        work(processes)


def start_processes(count: int, command: list[str]) -> None:
    """Run `python -m stages COMMAND` in `count` processes under torchrun, passing signals on and errors back.

    Raises:
        CrossModalNetError: what the processes raised.
        InterruptedRunError: stopped by a signal.
        ResourceError: they died of something else; what, they have said on stderr.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    # Named as the temporary folders of the library are, so that what a killed run left is found.
    with tempfile.TemporaryDirectory(prefix=f"crossmodalnet-{os.getpid()}-") as folder:
        outcome = Path(folder, "outcome.json")
        environment = {
            **os.environ,
            OUTCOME: str(outcome),
            LAUNCHER: str(os.getpid()),
            "OMP_NUM_THREADS": str(threads),
        }
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
        options = [
            f"--nproc-per-node={count}", f"--shutdown-timeout={SHUTDOWN_SECONDS}", f"--log-dir={folder}/logs",
            "-m", "stages",
        ]  # fmt: skip
        # In a session of its own: Ctrl-C reaches it once, by way of this process.
        child = subprocess.Popen([*torchrun, *options, *command], env=environment, start_new_session=True)
        with _passing_signals_on(child) as received:
            code = child.wait()
        if outcome.exists():
            _raise(outcome)
    if received:
        raise InterruptedRunError("stopped before training had begun; run the stage again")
    if code:
        raise ResourceError(f"a training process failed (torchrun's exit code {code}); its message is above")


@contextmanager
def _passing_signals_on(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        if not received:
            child.send_signal(signal.SIGTERM)
        received.append(number)

    before = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _reporting_outcome() -> Iterator[None]:
    """Hand an error to the stage that launched this process, if one did; it reports it once for all."""
    path = os.environ.get(OUTCOME)
    try:
        yield
    except CrossModalNetError as error:
        if path is None:
            raise
        write_json(Path(path), {"kind": type(error).__name__, "message": str(error)})


def _raise(outcome: Path) -> None:
    found = json.loads(outcome.read_text("utf-8"))
    kind: type[CrossModalNetError] = getattr(errors, found["kind"])
    raise kind(found["message"])


class StopRequest:
    """Notes SIGTERM and SIGINT while it is entered, so that the work can end at a good moment."""

    def __init__(self) -> None:
        self._received = False
        self._before: dict[signal.Signals, object] = {}
        self._launcher = int(os.environ.get(LAUNCHER, 0))

    def __enter__(self) -> "StopRequest":
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def received(self) -> bool:
        """Whether to stop: asked to by a signal, or the stage that launched this process was killed."""
        return self._received or bool(self._launcher and not _is_alive(self._launcher))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = True


def _is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
