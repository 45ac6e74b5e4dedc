import os

import pytest

from pipeline.parallel import num_workers, run_parallel


def test_results_come_with_their_tasks() -> None:
    assert sorted(run_parallel(abs, [-1, 2, -3], workers=2)) == [(-3, 3), (-1, 1), (2, 2)]


def test_workers_see_the_environment_and_this_process_keeps_its_own() -> None:
    assert list(run_parallel(os.getenv, ["COLOUR_OF_TEST"], workers=1, environment={"COLOUR_OF_TEST": "red"})) == [
        ("COLOUR_OF_TEST", "red")
    ]
    assert "COLOUR_OF_TEST" not in os.environ


def test_what_a_task_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_parallel(int, ["1", "x"], workers=1))


def test_zero_means_one_worker_per_core() -> None:
    assert num_workers(0) == len(os.sched_getaffinity(0))
    assert num_workers(3) == 3
