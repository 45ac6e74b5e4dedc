import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from crossmodalnet.processes.parallel import num_workers, run_parallel


def test_results_come_with_their_tasks() -> None:
    assert sorted(run_parallel(abs, [-1, 2, -3], workers=2)) == [(-3, 3), (-1, 1), (2, 2)]


def test_workers_see_the_environment_and_this_process_keeps_its_own() -> None:
    assert list(
        run_parallel(os.getenv, ["COLOUR_OF_TEST"], workers=1, environment={"COLOUR_OF_TEST": "red"})
    ) == [("COLOUR_OF_TEST", "red")]
    assert "COLOUR_OF_TEST" not in os.environ


def test_what_a_task_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_parallel(int, ["1", "x"], workers=1))


def test_zero_means_one_worker_per_core() -> None:
    assert num_workers(0) == len(os.sched_getaffinity(0))
    assert num_workers(3) == 3


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\nfrom crossmodalnet.processes.parallel import run_parallel\n"
        "if __name__ == '__main__':\n    list(run_parallel(time.sleep, [60, 60], workers=2))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL
    ) as parent:
        watched = psutil.Process(parent.pid)
        _wait_until(
            lambda: len(watched.children()) == 3
        )  # two workers and multiprocessing's resource tracker
        children = watched.children()
        parent.kill()
    _wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def _wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
