"""Audit a trained model: run all groups of checks on its cases, and write the outcomes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from math import prod
from pathlib import Path

import pandas as pd
import torch

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.samples import LabelledCase, centre_crop, pad_to
from crossmodalnet.io.outputs import write_json
from crossmodalnet.networks.common.device import find_device
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, StatementFinding
from crossmodalnet.theory.statements import GROUPS, STATEMENTS
from crossmodalnet.theory.subject import AuditSubject
from pipeline.preparation.cases import source_of
from pipeline.preparation.domain import read_domain
from pipeline.preparation.tensors import labelled
from pipeline.runtime.inputs import read_table
from pipeline.runtime.paths import CURVES, MODELS, SPLIT, of_run
from pipeline.runtime.workers import ALL_CORES, MB, CaseCost, RuntimeConfig, Work, run_cases
from pipeline.training.checkpoint import load_model
from pipeline.training.determinism import reproducible
from pipeline.training.processes import Processes

# Per voxel of the patch, gradients included; measured (docs/clusters.md).
COST = CaseCost(base_mb=1200, bytes_per_voxel=8700)
# Longest first, to keep all workers busy.
ORDER = tuple(dict.fromkeys(["flow", "robustness", "approximation", "lipschitz", "generalisation", *GROUPS]))
# Each test pair costs many training steps.
MAX_CASES = 5
# More digits would differ between machines.
SIGNIFICANT_DIGITS = 4
# Rounding errors are 0 to this many decimals.
DECIMALS = 6


@dataclass(frozen=True)
class AuditTask:
    """A group of checks on a trained model; picklable."""

    name: str
    model: str
    seed: int
    params: AuditConfig


def audit(
    model: str, seed: int, params: AuditConfig, runtime: RuntimeConfig = ALL_CORES
) -> Iterator[tuple[AuditTask, CheckOutcome]]:
    """Run all groups of checks on one model; yield each outcome as it finishes.

    On the CPU each group has one thread, so results do not depend on the number of cores.
    """
    tasks = [AuditTask(name, model, seed, params) for name in ORDER]
    if find_device(params.device, "audit.device").type == "cuda":
        yield from ((task, run_group(task)) for task in tasks)
    else:
        patch = load_model(of_run(MODELS, model, seed)).card.patch_size
        cost = CaseCost(base_mb=COST.bytes(prod(patch)) / MB)
        yield from run_cases(run_group, tasks, Work("audit", cost), runtime)


def run_group(task: AuditTask) -> CheckOutcome:
    """Run one group of checks in this process."""
    device = find_device(task.params.device, "audit.device")
    with reproducible(Processes(0, 1, 1, device), num_threads=1 if device.type == "cpu" else 0):
        subject = read_subject(task.model, task.seed, device)
        return import_module(f"crossmodalnet.theory.{task.name}").check(subject, task.params)


@cache
def read_subject(model: str, seed: int, device: torch.device) -> AuditSubject:
    """Read a trained model with its training and test cases, once per process.

    Raises:
        DataError: the model, a pair or the curves are missing or damaged.
    """
    loaded = load_model(of_run(MODELS, model, seed))
    card = loaded.card
    with torch.random.fork_rng():
        torch.manual_seed(card.seed)  # as in training, so that these are its initial weights
        initial = card.build()
    # An adapted model is audited on single images.
    cases, roles = source_of(read_domain() if card.adaptation else None)
    names = roles["test"][:MAX_CASES]
    if not names:
        raise DataError(f"{SPLIT} lists no test pair: raise split.test_fraction")
    training, test = (
        [_middle(labelled(cases.read(name), card.intensity), card.patch_size) for name in chosen]
        for chosen in (card.training_pairs, names)
    )
    curves = read_table(of_run(CURVES, model, seed).with_suffix(".csv"), "train", ())
    return AuditSubject(
        network=loaded.network.to(device),
        initial=initial.to(device).eval(),
        config=BuildConfig.model_validate(card.options()) if card.builder == "crossmodalnet" else None,
        patch_size=card.patch_size,
        training=training,
        test=test,
        objectives=tuple(card.losses["objectives"]),
        balancing=card.losses["balancing"],
        alpha=card.losses["alpha"],
        curves={str(name): curves[name].tolist() for name in curves if str(name).startswith(("loss_", "weight_"))},
    )


def _middle(case: LabelledCase, size: Triple) -> LabelledCase:
    """Crop or pad a case to the size of one patch."""
    label = pad_to(case.label[None].float(), size)[0].to(case.label.dtype)
    return LabelledCase(case.name, centre_crop(pad_to(case.image, size), size), centre_crop(label, size))


def write_audit(
    folder: Path, model: str, seed: int, outcomes: Mapping[str, CheckOutcome]
) -> dict[str, StatementFinding]:
    """Write findings.json, a CSV per table, and figures.json; return the findings in order of the statements.

    Without outcomes, where `audit.enabled` is false, the files list no finding.

    Raises:
        ValueError: findings and statements differ.
    """
    findings = {finding.key: finding for outcome in outcomes.values() for finding in outcome.findings}
    if outcomes and (differing := sorted(set(findings) ^ set(STATEMENTS))):
        raise ValueError(f"findings and statements must be the same, they differ in {', '.join(differing)}")
    findings = {key: findings[key] for key in STATEMENTS if outcomes}
    for outcome in outcomes.values():
        for name, rows in outcome.tables.items():
            pd.DataFrame(list(rows)).to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    entries = [asdict(finding) for finding in findings.values()]
    write_json(folder / "findings.json", {"model": model, "seed": seed, "findings": entries})
    write_json(folder / "figures.json", {key: _figures(finding) for key, finding in findings.items()})
    return findings


def _figures(finding: StatementFinding) -> dict[str, str | float]:
    numbers = {
        name: round(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), DECIMALS) + 0.0  # no minus zero
        for name, value in finding.numbers.items()
    }
    return {"verdict": str(finding.verdict), **numbers}
