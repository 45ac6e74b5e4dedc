"""List DVC's commits and experiments: what each changed, and its metrics."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossmodalnet.errors import ResourceError
from pipeline.comparison.titles import short_title_of
from pipeline.config.render import to_yaml

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
    return list(list_experiments(json.loads(done.stdout)))


def list_experiments(shown: list[dict[str, Any]]) -> Iterator[Experiment]:
    """List what `dvc exp show --json` prints; a commit is compared with the one before it, if that is shown."""
    for place, commit in enumerate(shown):
        before = shown[place + 1] if place + 1 < len(shown) else commit
        yield _experiment(commit, before)
        for run in commit["experiments"] or []:
            yield _experiment(run["revs"][0], commit)


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


def _experiment(revision: Mapping[str, Any], before: Mapping[str, Any]) -> Experiment:
    old, new = _parameters(before), _parameters(revision)
    files = ((revision["data"] or {}).get("metrics") or {}).items()
    rows = [{"method": path.split("/")[1], **(file.get("data") or {})} for path, file in files]
    metrics = pd.DataFrame(rows, columns=["method", *SHOWN]).groupby("method", sort=False).mean()
    name = (revision["name"] or revision["rev"][:9]) + ("" if revision["data"] else " (failed)")
    return Experiment(name, {key: value for key, value in new.items() if old.get(key) != value}, metrics)


def _parameters(revision: Mapping[str, Any]) -> dict[str, Any]:
    files = ((revision["data"] or {}).get("params") or {}).values()
    content: dict[str, Any] = next((file["data"] for file in files if "data" in file), {})
    rows = pd.json_normalize(content).to_dict("records")
    return {str(key): value for row in rows for key, value in row.items()}
