"""Stage `audit`: check the paper's statements on a trained model."""

import logging
from collections import Counter
from typing import Annotated

import typer

logger = logging.getLogger(__name__)


def main(
    model: Annotated[str, typer.Option(help="a trained model; `crossmodalnet-cosine` for an ablation")],
    seed: Annotated[int, typer.Option(help="one of `seeds` in params.yaml", min=0)] = 0,
) -> None:
    """Check every definition, theorem, lemma and corollary of the paper on the trained network."""
    from crossmodalnet.io.console import track
    from crossmodalnet.io.outputs import whole_folder
    from crossmodalnet.theory.config import AuditConfig
    from crossmodalnet.theory.statements import GROUPS, STATEMENTS
    from pipeline.config.params import load_section
    from pipeline.evaluation.run_audit import audit, write_audit
    from pipeline.runtime.paths import AUDIT
    from pipeline.runtime.workers import RuntimeConfig

    params = load_section(AuditConfig, "audit")
    runtime = load_section(RuntimeConfig, "runtime")
    with whole_folder(AUDIT / model) as folder:
        outcomes = {}
        groups = track(audit(model, seed, params, runtime), "audit", len(GROUPS)) if params.enabled else ()
        for task, outcome in groups:
            outcomes[task.name] = outcome
        findings = write_audit(folder, model, seed, outcomes)
    for key, finding in findings.items():
        logger.info("%-14s %s", STATEMENTS[key].number, finding.verdict)
    if not findings:
        logger.info("audit.enabled is false: no statement was checked")
        return
    counts = Counter(str(finding.verdict) for finding in findings.values())
    logger.info("%s: %s", model, ", ".join(f"{number} {verdict}" for verdict, number in counts.items()))
