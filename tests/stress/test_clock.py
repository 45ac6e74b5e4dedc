"""A clock that jumps back an hour and forth again, under all Python processes of a run: the same bytes."""

import textwrap
from collections.abc import Callable

import pytest

from tests.integration.conftest import Clone
from tests.stress.conftest import Reference, results, start

pytestmark = pytest.mark.stress
# Python imports a module of this name from its path before anything else.
JUMPING = textwrap.dedent(
    """
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
)


def test_a_clock_that_goes_backwards_changes_nothing(
    undisturbed: Reference, fresh: Callable[[str], Clone], tmp_path_factory: pytest.TempPathFactory
) -> None:
    clock, jumped = tmp_path_factory.mktemp("clock"), tmp_path_factory.mktemp("jumped")
    (clock / "sitecustomize.py").write_text(JUMPING)
    clone = fresh("clock")
    run, thread = start(
        clone, "clock", tmp_path_factory.mktemp("tmp"), PYTHONPATH=str(clock), CLOCK_JUMPED=str(jumped)
    )
    assert run.process.wait() == 0, "".join(run.text[-30:])
    thread.join()
    assert results(clone.folder) == undisturbed.digests
    assert len(list(jumped.iterdir())) >= 3, "hardly any process has asked for the time after a jump"
