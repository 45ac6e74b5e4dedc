"""Cases on a scheduler and a worker of the user's, started as processes of their own in another folder."""

import importlib
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from crossmodalnet.errors import ResourceError
from pipeline.runtime.workers import CaseCost, RuntimeConfig, Work, run_cases

from .conftest import Cluster, Helpers, is_gone, wait_until
from .test_workers import PROGRAM

WORK = Work("try", CaseCost(200), environment={"COLOUR_OF_TEST": "red"}, kept=True)


def module() -> Any:
    return importlib.import_module("helpers")


@pytest.mark.slow
def test_cases_run_in_the_folder_and_the_environment_of_the_stage_and_faults_are_as_here(
    cluster: Cluster, tmp_path: Path
) -> None:
    there = RuntimeConfig(scheduler=cluster.address)
    ((_, (colour, folder, threads)),) = run_cases(module().environment, ["COLOUR_OF_TEST"], WORK, there)
    assert (colour, folder, threads) == ("red", os.getcwd(), "1")  # noqa: PTH109
    assert sorted(run_cases(module().square, [1, 2, -3], WORK, there)) == [(-3, 9), (1, 1), (2, 4)]
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_cases(int, ["x"], WORK, there))
    flag = str(tmp_path / "flag")
    assert [result for _, result in run_cases(module().die_once, [flag], WORK, there)] == [flag]
    done: list[int] = []
    with pytest.raises(ResourceError, match=r"1 of 3 cases ended every process .*: 3\. .* 2 finished"):
        done.extend(task for task, _ in run_cases(module().die, [0, 2, 3], WORK, there))
    assert sorted(done) == [0, 2]


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_stage_cost_their_cases_and_a_killed_scheduler_is_named(
    cluster: Cluster, helpers: Helpers, tmp_path: Path
) -> None:
    # The stage: what it asked for ends, the cluster stays.
    begun = tmp_path / "slow.begun"
    runtime = f"scheduler={cluster.address!r}"
    script = PROGRAM.format(function="finish", tasks=[str(tmp_path / "slow")], runtime=runtime)
    with helpers.start(script) as program:
        wait_until(lambda: begun.exists() and bool(begun.read_text()))
        case = psutil.Process(int(begun.read_text()))
        program.kill()
        assert program.stderr is not None
        program.stderr.close()
    wait_until(lambda: is_gone(case))
    there = RuntimeConfig(scheduler=cluster.address)
    assert list(run_cases(module().square, [5], WORK, there)) == [(5, 25)]

    # The worker, whose nanny starts another one.
    begun.unlink()
    with helpers.start(PROGRAM.format(function="die_once", tasks=["", str(tmp_path / "x")], runtime=runtime)):
        pass
    assert (tmp_path / "x").exists()
    (child,) = [c for c in cluster.worker.children() if "spawn_main" in " ".join(c.cmdline())]
    child.kill()
    assert list(run_cases(module().square, [6], WORK, there)) == [(6, 36)]

    # The scheduler: said, and the stage ends.
    with helpers.start(script) as program:
        wait_until(begun.exists)
        cluster.scheduler.kill()
        assert program.stderr is not None
        says = program.stderr.read()
    assert "the scheduler is gone" in says
    assert program.returncode


def test_a_missing_scheduler_is_named_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runtime.dask_workers.PATIENCE", 1)
    with pytest.raises(ResourceError, match=r"runtime\.scheduler = tcp://127\.0\.0\.1:1: no scheduler"):
        list(run_cases(abs, [1], WORK, RuntimeConfig(scheduler="tcp://127.0.0.1:1")))
