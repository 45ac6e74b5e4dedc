import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", [file.stem for file in FILES if '"__main__"' in file.read_text("utf-8")])
def test_a_benchmark_says_what_it_takes(name, monkeypatch, capsys):
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 0
    assert module.__doc__.splitlines()[0] in " ".join(capsys.readouterr().out.split())


def test_networks_are_measured_when_run_as_a_program():
    command = [sys.executable, "-m", "benchmarks.networks", "--networks", "mednext", "--threads", "1"]
    few = ["--patch", "16", "16", "16", "--repetitions", "3"]
    done = subprocess.run([*command, *few], cwd=ROOT, capture_output=True, text=True, check=True)
    row = done.stdout.splitlines()[2].strip("| ").split(" | ")
    assert row[:2] == ["mednext", "small"]
    assert all(float(cell) > 0 for cell in row[2:])
