"""A clock that jumps back an hour and forth again, under all Python processes of a run: the same bytes."""

import pytest

from tests.stress.conftest import results, start

pytestmark = pytest.mark.stress
# Python imports a module of this name from its path before anything else.
JUMPING = """
import os, sys, time
_time, _steady, _begin = time.time, time.monotonic, time.monotonic()
def jumping():
    back = int((_steady() - _begin) // 2) % 2
    if back:
        open(os.path.join(os.environ["CLOCK_JUMPED"], str(os.getpid())), "a").close()
    return _time() - 3600 * back
time.time = jumping
time.time_ns = lambda: int(jumping() * 1e9)
"""


def test_a_clock_that_goes_backwards_changes_nothing(undisturbed, fresh, tmp_path_factory):
    clock, jumped = tmp_path_factory.mktemp("clock"), tmp_path_factory.mktemp("jumped")
    (clock / "sitecustomize.py").write_text(JUMPING)
    clone = fresh("clock")
    variables = {"PYTHONPATH": str(clock), "CLOCK_JUMPED": str(jumped)}
    run, thread = start(clone, "clock", tmp_path_factory.mktemp("tmp"), **variables)
    assert run.process.wait() == 0, "".join(run.text[-30:])
    thread.join()
    assert results(clone.folder) == undisturbed.digests
    assert len(list(jumped.iterdir())) >= 3, "hardly any process has asked for the time after a jump"
