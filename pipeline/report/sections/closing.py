"""Limits, what to try next, and parameters and versions."""

from typing import Any

from crossmodalnet.metrics.statistics import smallest_p
from pipeline.comparison.titles import title_of
from pipeline.report.artefacts import Artefacts
from pipeline.report.tables import flatten
from pipeline.runtime import paths


def limits_section(artefacts: Artefacts) -> dict[str, Any]:
    """Say what the numbers do not show."""
    return {"smallest_p": f"{smallest_p(len(artefacts.images)):.3g}"}


def next_section(_: Artefacts) -> dict[str, Any]:
    """List commands; the template has them."""
    return {}


def parameters_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show params.yaml, the model cards, and versions and machine of the first."""
    first = artefacts.card(artefacts.models[0])
    facts = {key: first[key] for key in ("versions", "machine", "device") if key in first}
    return {
        "versions": [(name.removeprefix("versions."), text) for name, text in flatten(facts)],
        "params": (artefacts.top / paths.PARAMS).read_text("utf-8"),
        "cards": [(name, title_of(name), flatten(artefacts.card(name))) for name in artefacts.models],
    }
