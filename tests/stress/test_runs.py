"""Whole runs: `kill -9` of everything at random moments of `dvc repro`, again and again, and two runs at once.

Its name is the last one of the folder's: pytest-xdist hands files out by name, and one of few tests together with the
next one, so that another one's many tests would wait for the kills.
"""

import os
import signal
import time
from collections import Counter

import numpy as np
import pytest
from ruamel.yaml import YAML, YAMLError

from tests.integration.conftest import Clone
from tests.stress.conftest import Run, left_running, results, start

pytestmark = pytest.mark.stress
RUNS = int(os.environ.get("STRESS_RUNS", "5"))
HITS_PER_STAGE = int(os.environ.get("STRESS_HITS", "2"))
SECONDS = 1800


def kill_within(run: Run, stage: str, after: float) -> bool:
    """Kill the whole process group so long after a stage began; False where that stage or the run ended before."""
    end = time.monotonic() + SECONDS
    while stage not in run.began:
        if run.process.poll() is not None:
            return False
        assert time.monotonic() < end, f"{stage} never began"
        time.sleep(0.01)
    time.sleep(max(0.0, run.began[stage] + after - time.monotonic()))
    hit = run.process.poll() is None and list(run.began)[-1] == stage
    if run.process.poll() is None:
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
    return hit


def mend_lock(clone: Clone) -> None:
    """Take `dvc.lock` from git, as docs/teams.md says, if DVC was killed while it wrote it."""
    try:
        is_whole = "schema" in (YAML(typ="safe").load(clone.folder / "dvc.lock") or {})
    except YAMLError:
        is_whole = False
    if not is_whole:
        clone.run("git", "checkout", "dvc.lock")


def test_killed_again_and_again_it_ends_with_the_same_bytes(undisturbed, fresh, tmp_path_factory):
    stages = list(undisturbed.seconds)
    rng = np.random.default_rng(int(os.environ.get("STRESS_SEED", "0")))
    plan = [stage for _ in range(HITS_PER_STAGE) for stage in stages]
    hits: Counter[str] = Counter()
    # In turn, so that every run is hit early and late; a stage may be hit twice in one run.
    shares = [plan[number::RUNS] for number in range(RUNS)]
    for number, share in enumerate(shares):
        missed: list[str] = []
        clone, mark = fresh(f"killed{number}"), f"killed{number}"
        tmp = tmp_path_factory.mktemp("tmp")
        for stage in sorted(share, key=stages.index):
            run, thread = start(clone, mark, tmp)
            if kill_within(run, stage, rng.uniform(0.0, 0.8) * undisturbed.seconds[stage]):
                hits[stage] += 1
            else:
                missed.append(stage)
            thread.join()
            assert left_running(mark) == []
            mend_lock(clone)
        run, thread = start(clone, mark, tmp)
        assert run.process.wait() == 0, "".join(run.text[-30:])
        thread.join()
        assert results(clone.folder) == undisturbed.digests
        assert left_running(mark) == []
        assert [p.name for p in tmp.iterdir() if not p.name.startswith("torchinductor")] == []
        assert list(clone.folder.rglob("*.partial")) == []
        # A stage may end before the moment that was drawn for it: its turn comes again in the next run, or in one more.
        if missed and number + 1 == len(shares) < 2 * RUNS:
            shares.append([])
        if number + 1 < len(shares):
            shares[number + 1] += missed
    print(f"kills by stage: {dict(hits)} in {len(shares)} runs")  # noqa: T201
    assert {stage: hits[stage] for stage in stages} == dict.fromkeys(stages, HITS_PER_STAGE)


def test_two_runs_at_once_do_not_spoil_each_other(undisturbed, fresh, tmp_path_factory):
    clone, tmp = fresh("twice"), tmp_path_factory.mktemp("tmp")
    first, one = start(clone, "twice", tmp)
    time.sleep(3)
    second, two = start(clone, "twice", tmp)
    codes = (first.process.wait(), second.process.wait())
    one.join()
    two.join()
    assert 0 in codes, "".join([*first.text[-15:], *second.text[-15:]])
    assert "Traceback" not in "".join([*first.text, *second.text])
    done, three = start(clone, "twice", tmp)
    assert done.process.wait() == 0
    three.join()
    assert results(clone.folder) == undisturbed.digests
