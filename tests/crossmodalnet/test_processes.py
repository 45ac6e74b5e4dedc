import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from crossmodalnet.processes import is_plain, plain_folder, remove_stale, run_alone, scratch_folder


def test_the_answer_comes_back_whatever_its_size() -> None:
    volume = np.random.default_rng(0).normal(size=(130, 70, 40))
    np.testing.assert_array_equal(run_alone(np.negative, volume), -volume)


def test_the_process_sees_the_environment_and_this_one_keeps_its_own() -> None:
    assert run_alone(os.getenv, "COLOUR_OF_TEST", environment={"COLOUR_OF_TEST": "red"}) == "red"
    assert run_alone(os.getenv, "OMP_NUM_THREADS") == "1"
    assert "COLOUR_OF_TEST" not in os.environ


def test_what_the_function_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        run_alone(int, "x")


def test_what_the_function_prints_is_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_alone(print, "a library's chatter") is None
    assert run_alone(os.system, "echo more of it") == 0
    assert capfd.readouterr() == ("", "a library's chatter\nmore of it\n")


def test_a_process_that_dies_is_told_from_one_that_lacks_memory() -> None:
    with pytest.raises(RuntimeError, match="ended with code 7"):
        run_alone(os._exit, 7)
    with pytest.raises(MemoryError, match="the system ended a process"):
        run_alone(signal.raise_signal, signal.SIGKILL)


SCRIPT = "import sys\nfrom crossmodalnet.processes import run_alone\nprint(run_alone(len, 'four'))\n"


def test_a_script_without_a_guard_and_a_program_from_a_pipe_may_ask(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(SCRIPT, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    for arguments, program in ((["plain.py"], None), (["-"], SCRIPT)):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, input=program, text=True,
            capture_output=True, check=True,
        )  # fmt: skip
        assert done.stdout == "4\n"


def test_it_ends_when_the_process_that_asked_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text("import time\nfrom crossmodalnet.processes import run_alone\nrun_alone(time.sleep, 60)\n")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as parent:
        watched = psutil.Process(parent.pid)
        end = time.monotonic() + 30
        while not (children := watched.children()):
            assert time.monotonic() < end
            time.sleep(0.1)
        time.sleep(1)  # lets it look at who asked
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


@pytest.mark.parametrize("sent", [b"", pickle.dumps((len, list(range(1000))))[:-100]])
def test_it_ends_without_a_word_where_the_call_never_came_whole(sent: bytes) -> None:
    command = [sys.executable, "-P", "-m", "crossmodalnet.processes"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, input=sent, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_a_scratch_folder_is_plain_and_gone_afterwards() -> None:
    with scratch_folder() as folder:
        assert is_plain(folder)
        (folder / "x").touch()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["Heart study, 2027", "mmwhs [copy]", "Übung", "a'b", "x*"])
def test_a_folder_of_any_name_has_a_plain_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with plain_folder(tmp_path / name) as plain:
        assert is_plain(plain)
        (plain / "file").write_text("x")
    assert (tmp_path / name / "file").read_text() == "x"
    assert not plain.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f"crossmodalnet-{gone.pid}-x", "crossmodalnet-1-x", "crossmodalnet-other"):
        (tmp_path / name).mkdir()
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crossmodalnet-1-x", "crossmodalnet-other"]
