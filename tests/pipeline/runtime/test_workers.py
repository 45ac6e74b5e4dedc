"""Cases on workers of this machine: results, faults, and what is left after `kill -9`."""

import importlib
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest

from crossmodalnet.errors import ResourceError
from crossmodalnet.processes import remove_stale
from pipeline.runtime import dask_workers
from pipeline.runtime.workers import GB, CaseCost, RuntimeConfig, Work, choose_workers, count_voxels, run_cases

from .conftest import Helpers, is_gone, wait_until

WORK = Work("try", CaseCost(200))
TWO = RuntimeConfig(workers=2)


def module() -> Any:
    return importlib.import_module("helpers")


def test_results_come_with_their_tasks_whatever_the_number_of_workers(helpers: Helpers) -> None:
    for workers in (1, 3):
        found = run_cases(module().square, [1, 2, -3], WORK, RuntimeConfig(workers=workers))
        assert sorted(found) == [(-3, 9), (1, 1), (2, 4)]


def test_no_task_starts_no_process() -> None:
    assert list(run_cases(abs, [], WORK)) == []


def test_workers_see_the_environment_and_one_thread_and_this_process_keeps_its_own(
    helpers: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = dict(os.environ)
    work = Work("try", CaseCost(200), environment={"COLOUR_OF_TEST": "red"})
    ((_, (colour, folder, threads)),) = run_cases(module().environment, ["COLOUR_OF_TEST"], work, TWO)
    assert (colour, folder, threads) == ("red", os.getcwd(), "1")  # noqa: PTH109
    assert dict(os.environ) == before


def test_what_a_task_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_cases(int, ["1", "x"], WORK, TWO))


def test_what_has_finished_when_a_task_fails_is_given_first(helpers: Helpers) -> None:
    found = run_cases(module().slowly_fail, [0, 1, 0], WORK, TWO)
    assert next(found) == (0, 0)
    time.sleep(3)  # both others end meanwhile
    assert next(found) == (0, 0)
    with pytest.raises(ValueError, match="as foreseen"):
        next(found)


def test_a_worker_that_is_killed_costs_its_case_a_second_try(
    helpers: Helpers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = [str(tmp_path / "flag"), ""]
    assert sorted(r for _, r in run_cases(module().die_once, flags, WORK, TWO)) == sorted(flags)
    assert caplog.text.count("a worker process was killed") == 1


def test_a_case_that_kills_three_workers_is_named_and_the_others_are_done(helpers: Helpers) -> None:
    done: list[int] = []
    with pytest.raises(ResourceError, match=r"1 of 4 cases ended every process .* memory: 3\. Set runtime"):
        done.extend(task for task, _ in run_cases(module().die, [0, 2, 3, 4], WORK, TWO))
    assert sorted(done) == [0, 2, 4]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dask_workers._SETTINGS, "distributed.scheduler.no-workers-timeout", "3s")


@pytest.mark.parametrize("function", ["bar_the_way", pytest.param("close_the_worker", marks=pytest.mark.slow)])
def test_it_ends_where_no_worker_can_be_started_any_more(helpers: Helpers, impatient: None, function: str) -> None:
    work, one = Work("try", CaseCost(200), kept=True), RuntimeConfig(workers=1)
    with pytest.raises(ResourceError, match=r"^try: no worker process is left, .*0 finished cases kept"):
        list(run_cases(getattr(module(), function), [1, 2], work, one))


def test_a_worker_begins_no_case_before_the_result_of_its_last_one_is_here(helpers: Helpers, tmp_path: Path) -> None:
    cases = [str(tmp_path / f"{number}.begun") for number in range(6)]
    found = run_cases(module().begin, cases, WORK, RuntimeConfig(workers=1))
    first, _ = next(found)
    wait_until(Path(cases[1]).exists)
    time.sleep(1)
    assert [Path(case).exists() for case in cases] == [True, True, False, False, False, False]
    assert [first, *(case for case, _ in found)] == cases


def test_a_case_without_memory_is_named_and_the_others_are_done(helpers: Helpers) -> None:
    found = run_cases(module().out_of_memory, [1, 2, 3], Work("try", CaseCost(200), kept=True), TWO)
    with pytest.raises(ResourceError, match=r"memory: 2\. .*2 finished cases kept"):
        list(found)


@pytest.mark.parametrize(
    ("requested", "num_cases", "free_gb", "workers"),
    [(0, 20, 100.0, 8), (0, 3, 100.0, 3), (0, 20, 10.0, 4), (0, 20, 1.0, 1), (5, 20, 4.0, 5), (5, 2, 100.0, 2)],
)
def test_workers_are_as_many_as_cores_memory_and_cases(
    requested: int, num_cases: int, free_gb: float, workers: int
) -> None:
    found = choose_workers(requested, num_cases, 2 * GB, cores=8, free_bytes=int(free_gb * GB))
    assert found == workers


def test_too_many_workers_for_the_memory_are_a_warning(helpers: Helpers, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        list(run_cases(module().square, [1, 2], Work("try", CaseCost(10**9)), TWO))
    assert "try: 2 workers on" in caplog.text
    assert "too little memory for 2 workers" in caplog.text


def test_memory_of_a_case_goes_by_its_largest_image(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "b.nrrd").write_bytes(b"x" * 50)
    (tmp_path / "c.nii.gz").write_bytes(b"no image")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "slice").write_bytes(b"x" * 90)
    paths = [tmp_path / name for name in ("a.nii.gz", "b.nrrd", "c.nii.gz", "d", "none.nii.gz")]
    assert [count_voxels(path) for path in paths] == [120, 50, 8, 90, 0]
    assert Work("try", CaseCost(100, 2**20), paths).case_bytes == 220 * 2**20
    assert Work("try", CaseCost(100)).case_bytes == 100 * 2**20


PROGRAM = """
import helpers
from pipeline.runtime.workers import CaseCost, RuntimeConfig, Work, run_cases

if __name__ == "__main__":
    list(run_cases(helpers.{function}, {tasks!r}, Work("try", CaseCost(100)), RuntimeConfig({runtime})))
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_and_no_file_outlive_a_killed_stage(helpers: Helpers, tmp_path: Path, sent: int) -> None:
    temporary, flags = tmp_path / "tmp", [tmp_path / "one", tmp_path / "two"]
    temporary.mkdir()
    script = PROGRAM.format(function="leave_a_file", tasks=[str(flag) for flag in flags], runtime="workers=2")
    with helpers.start(script, tmp=temporary) as program:
        wait_until(lambda: all(flag.exists() and flag.read_text() for flag in flags))
        processes = psutil.Process(program.pid).children(recursive=True)
        assert len(processes) >= 3
        assert list(temporary.iterdir())
        program.send_signal(sent)
        assert program.stderr is not None
        program.stderr.close()
    wait_until(lambda: all(map(is_gone, processes)))
    remove_stale(temporary)  # as the next run does
    assert not list(temporary.iterdir())


def test_a_rerun_after_a_kill_finishes(helpers: Helpers, tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a", "b", "slow")]
    with helpers.start(PROGRAM.format(function="finish", tasks=names, runtime="workers=1")) as program:
        wait_until((tmp_path / "slow.begun").exists)
        program.kill()
        assert program.stderr is not None
        program.stderr.close()
    assert [Path(name).exists() for name in names] == [True, True, False]
    (tmp_path / "slow").mkdir()
    rest = [str(tmp_path / "slow" / "c")]
    assert [name for name, _ in run_cases(module().finish, rest, WORK, TWO)] == rest
