"""Audit a trained model: run all groups of checks, several at once, and write their outcomes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from math import prod
from pathlib import Path

import pandas as pd

from crossmodalnet.io.outputs import write_json
from crossmodalnet.networks.common.device import find_device
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, StatementFinding
from crossmodalnet.theory.statements import GROUPS, STATEMENTS
from crossmodalnet.theory.subject import AuditSubject
from pipeline.evaluation.audit_subject import read_subject
from pipeline.runtime.paths import MODELS, of_run
from pipeline.runtime.workers import ALL_CORES, MB, CaseCost, RuntimeConfig, Work, run_cases
from pipeline.training.checkpoint import load_model
from pipeline.training.processes import Processes, reproducible

# By the voxels of the patch, through which gradients are taken as in a training step: measured on the default network
# and on that of the preset mmwhs (docs/how-to/clusters.md).
COST = CaseCost(base_mb=1200, bytes_per_voxel=8700)
FINDINGS = "findings.json"
FIGURES = "figures.json"
# Digits that are kept: more would differ between machines and make every comparison long.
SIGNIFICANT_DIGITS = 4
# Deviations by rounding are 0 to so many decimals; else every comparison would list them.
DECIMALS = 6
# Longest first, so that no worker is left with a long one at the end.
LONG = ("flow", "robustness", "approximation", "lipschitz", "generalisation", "balancing", "cost")
ORDER = tuple(dict.fromkeys([*LONG, *GROUPS]))


@dataclass(frozen=True)
class AuditTask:
    """A group of checks on a trained model; can be sent to another process."""

    name: str
    model: str
    seed: int
    params: AuditConfig


def audit(
    model: str, seed: int, params: AuditConfig, runtime: RuntimeConfig = ALL_CORES
) -> Iterator[tuple[AuditTask, CheckOutcome]]:
    """Run all groups of checks on one model and yield each with its outcome, as they finish.

    On the CPU each group runs single-threaded in one of several processes, so that the results do not depend on the
    number of cores; on a GPU one after the other.

    Raises:
        DataError: the model, a pair or the curves are missing or damaged.
        ResourceError: a GPU is required and there is none.
    """
    tasks = [AuditTask(name, model, seed, params) for name in ORDER]
    if find_device(params.device, "audit.device").type == "cuda":
        yield from ((task, run_group(task)) for task in tasks)
    else:
        patch = load_model(of_run(MODELS, model, seed)).card.patch_size
        cost = CaseCost(base_mb=COST.bytes(prod(patch)) / MB)
        yield from run_cases(run_group, tasks, Work("audit", cost), runtime)


def run_group(task: AuditTask) -> CheckOutcome:
    """Run one group of checks, in this process: `check` of the module with its name."""
    device = find_device(task.params.device, "audit.device")
    with reproducible(Processes(0, 1, 1, device), num_threads=1 if device.type == "cpu" else 0):
        subject = _subject(task.model, task.seed, task.params.device)
        outcome: CheckOutcome = import_module(f"crossmodalnet.theory.{task.name}").check(subject, task.params)
        return outcome


@cache
def _subject(model: str, seed: int, device: str) -> AuditSubject:
    """Read the model once per process."""
    return read_subject(model, seed, find_device(device, "audit.device"))


def write_audit(
    folder: Path, model: str, seed: int, outcomes: Mapping[str, CheckOutcome]
) -> dict[str, StatementFinding]:
    """Write findings.json, a CSV file per table, and figures.json: verdict and numbers of each statement.

    Returns:
        the findings in the order of the statements.

    Raises:
        ValueError: a statement has no finding, or a finding no statement.
    """
    findings = {finding.key: finding for outcome in outcomes.values() for finding in outcome.findings}
    if differing := sorted(set(findings) ^ set(STATEMENTS)):
        raise ValueError(f"findings and statements must be the same, they differ in {', '.join(differing)}")
    findings = {key: findings[key] for key in STATEMENTS}
    for outcome in outcomes.values():
        for name, rows in outcome.tables.items():
            pd.DataFrame(list(rows)).to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    entries = [asdict(finding) for finding in findings.values()]
    write_json(folder / FINDINGS, {"model": model, "seed": seed, "findings": entries})
    write_json(folder / FIGURES, {key: _rounded(finding) for key, finding in findings.items()})
    return findings


def _rounded(finding: StatementFinding) -> dict[str, str | float]:
    numbers = {
        name: round(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), DECIMALS) + 0.0  # no minus zero
        for name, value in finding.numbers.items()
    }
    return {"verdict": str(finding.verdict), **numbers}
