"""List DVC's commits and experiments: what each changed, and its metrics."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from ruamel.yaml import YAML

from crossmodalnet.errors import ResourceError
from pipeline.comparison.titles import short_title_of
from pipeline.config.render import to_yaml
from pipeline.runtime.paths import TOP

# As named in metrics/*.json, with their heading and digits.
SHOWN = {"dice": ("Dice", 3), "hd95_mm": ("HD95", 1), "missed": ("missed", 0)}


class Experiment(NamedTuple):
    """A revision: its name, the parameters that it changed, and its metrics by network, means over the seeds."""

    name: str
    changes: Mapping[str, Any]
    metrics: pd.DataFrame


def read_experiments(num_commits: int) -> list[Experiment]:
    """Read the workspace, the last commits and their experiments, from git alone; raise if DVC cannot."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", "--num", str(num_commits)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ResourceError(f"`dvc exp show` failed: {done.stderr.strip() or done.stdout.strip()}")
    return list(list_experiments(json.loads(done.stdout), _lock_of))


def list_experiments(shown: list[dict[str, Any]], lock_of: Callable[[str], str]) -> Iterator[Experiment]:
    """List what `dvc exp show --json` prints, and by a revision's dvc.lock whether it was run.

    A commit is compared with the one before it, if that is shown.
    """
    for place, commit in enumerate(shown):
        runs = [(run["revs"][0], commit) for run in commit["experiments"] or []]
        for revision, before in [(commit, (shown[place + 1 :] or [commit])[0]), *runs]:
            yield _experiment(revision, before, lock_of(revision["rev"]))


def print_experiments(experiments: list[Experiment], console: Console) -> None:
    """Print a row per experiment; names and changes wrap, numbers do not."""
    table = Table(show_edge=False)
    table.add_column("", overflow="fold")
    table.add_column("changed", overflow="fold")
    for title in ["network", *(title for title, _ in SHOWN.values())]:
        table.add_column(title, justify="left" if title == "network" else "right", no_wrap=True)
    for name, changes, metrics in experiments:
        changed = escape("\n".join(f"{key}={to_yaml(value)}" for key, value in changes.items()))
        columns = [[short_title_of(method) for method in metrics.index]]
        for key, (_, digits) in SHOWN.items():
            columns.append(["–" if pd.isna(value) else f"{value:.{digits}f}" for value in metrics[key]])
        table.add_row(name, changed, *("\n".join(column) for column in columns))
    console.print(table)
    if any(found.name.endswith("(not run)") for found in experiments):
        console.print("not run: the metrics are of other parameters; `dvc repro` makes new ones")


def _experiment(revision: Mapping[str, Any], before: Mapping[str, Any], lock: str) -> Experiment:
    old, new = _parameters(before), _parameters(revision)
    files = ((revision["data"] or {}).get("metrics") or {}).items()
    rows = [{"method": path.split("/")[1], **(file.get("data") or {})} for path, file in files]
    metrics = pd.DataFrame(rows, columns=["method", *SHOWN]).groupby("method", sort=False).mean()
    ran = _ran(lock, {path for path, _ in files})
    is_other = any(new.get(key) != value for key, value in ran)
    state = " (failed)" if not revision["data"] else " (not run)" if is_other else ""
    name = (revision["name"] or revision["rev"][:9]) + state
    return Experiment(name, {key: value for key, value in new.items() if old.get(key) != value}, metrics)


def _ran(lock: str, metrics: set[str]) -> Iterator[tuple[str, Any]]:
    """List the parameters of the stages behind the metrics, by a dvc.lock; `train@unet-0` is behind `unet/seed0`."""
    for name, stage in YAML(typ="safe", pure=True).load(lock or "{}").get("stages", {}).items():
        method, _, seed = name.partition("@")[2].rpartition("-")
        if metrics and ("@" not in name or f"metrics/{method}/seed{seed}.json" in metrics):
            yield from _flat(stage.get("params", {}).get("params.yaml", {})).items()


def _lock_of(rev: str) -> str:
    lock = TOP / "dvc.lock"
    if rev == "workspace":
        return lock.read_text("utf-8") if lock.is_file() else ""
    return subprocess.run(["git", "show", f"{rev}:dvc.lock"], cwd=TOP, capture_output=True, text=True).stdout


def _parameters(revision: Mapping[str, Any]) -> dict[str, Any]:
    files = ((revision["data"] or {}).get("params") or {}).values()
    return _flat(next((file["data"] for file in files if "data" in file), {}))


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    rows = pd.json_normalize(dict(content)).to_dict("records")
    return {str(key): value for row in rows for key, value in row.items()}
