"""A temporary folder that is gone in the end, even where `kill -9` leaves this process no time to remove it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossmodalnet.processes.scratch import scratch_folder

# Reads until the pipe to the process that started it is closed, which the system does however that one ends. Workers
# that end at the same moment may still write: hence several rounds.
_KEEPER = """
import os, shutil, sys, time
sys.stdin.buffer.read()
for _ in range(50):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.exists(sys.argv[1]):
        break
    time.sleep(0.1)
"""


@contextmanager
def kept_scratch() -> Iterator[Path]:
    """Give a scratch folder as elsewhere; should this process be killed, a small one of its own removes it at once."""
    with scratch_folder() as folder:
        # In a session of its own, so that Ctrl-C leaves it to its work.
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _KEEPER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield folder
        finally:
            assert keeper.stdin is not None
            keeper.stdin.close()
            keeper.wait()
