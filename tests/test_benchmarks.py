"""The benchmarks run: their figures are in docs/results/performance.md with the commands that made them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if '"__main__"' in path.read_text("utf-8")
)


def test_the_benchmarks_are_found() -> None:
    assert {"networks", "real_size", "registration"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_says_what_it_takes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 0
    assert module.__doc__.splitlines()[0] in " ".join(capsys.readouterr().out.split())


def test_networks_are_measured_when_run_as_a_program() -> None:
    """The module is `__main__` then, which a process of its own cannot import."""
    command = [sys.executable, "-m", "benchmarks.networks", "--networks", "mednext", "--threads", "1"]
    few = ["--patch", "16", "16", "16", "--repetitions", "3", "--max-seconds", "1"]
    done = subprocess.run([*command, *few], cwd=ROOT, capture_output=True, text=True, check=True)
    row = done.stdout.splitlines()[2].strip("| ").split(" | ")
    assert row[:2] == ["mednext", "small"]
    assert all(float(cell) > 0 for cell in row[2:])
