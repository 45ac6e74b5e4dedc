"""A repository of its own with the smoke preset, run once for all tests of this folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from pipeline.runtime.paths import TOP


@dataclass(frozen=True)
class Clone:
    """A copy of this working tree under git and DVC, in which commands run."""

    folder: Path

    def run(self, *command: str, expect: int = 0) -> str:
        """Run a command to its end and give stdout and stderr; its exit code must be `expect`."""
        kept = {"cwd": self.folder, "env": self.environment(), "capture_output": True, "text": True}
        done = subprocess.run(self.command(*command), check=False, **kept)
        output = done.stdout + done.stderr
        assert done.returncode == expect, f"{' '.join(command)} exited {done.returncode}:\n{output}"
        return output

    def command(self, *command: str) -> list[str]:
        """Resolve `dvc`, `python` and `crossmodalnet` to those of this environment."""
        program = Path(sys.executable).with_name(command[0])
        return [str(program) if program.exists() else command[0], *command[1:]]

    def environment(self) -> dict[str, str]:
        """Variables for a command: this environment's programs first, no shared caches."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        cache = str(self.folder.parent / "site-cache")
        dropped = {"DVC_ROOT", "PYTHONPATH", "RANK", "WORLD_SIZE"}
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        return {**kept, "PATH": path, "DVC_SITE_CACHE_DIR": cache, "COLUMNS": "200"}

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)


def make_clone(folder: Path) -> Clone:
    """Copy what git tracks here, uncommitted changes included, into a repository of its own; smoke preset, no run."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (TOP / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, folder / name)
    clone = Clone(folder)
    clone.run("git", "init", "-q")
    clone.run("git", "config", "user.name", "test")
    clone.run("git", "config", "user.email", "test@example.org")
    (folder / "dvc.lock").unlink(missing_ok=True)
    clone.run("crossmodalnet", "params", "use", "smoke")
    clone.commit("smoke preset")
    return clone


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The pipeline, run end to end on the smoke preset, and committed."""
    clone = make_clone(tmp_path_factory.mktemp("integration") / "project")
    clone.run("dvc", "repro")
    clone.commit("first run")
    return clone


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium is installed: apt-get install chromium")
        pytest.skip("no Chromium is installed")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=arguments)
        yield running
        running.close()
