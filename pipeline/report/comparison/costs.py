"""What section "What it costs" shows: size, time and memory of every network, and Dice against time."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.profile import Profile, Spread
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.charts.tables import Table
from pipeline.report.comparison.figures import cost_chart

HEADINGS = (
    "Network", "Parameters, M", "GFLOPs", "Step, s", "Step, × U-Net", "Step memory, MB", "Inference, s",
    "Inference memory, MB",
)  # fmt: skip


@dataclass(frozen=True)
class CostSection:
    """The table, what it was measured on (several where that differs), and the chart."""

    table: Table
    settings: Sequence[str]
    chart: str


def cost_section(artefacts: Artefacts) -> CostSection | None:
    """Make the section; none where there is one network only."""
    if len(artefacts.models) < 2:
        return None
    profiles = [artefacts.profiles[model.name] for model in artefacts.models]
    rows = [[model.title, *_row(p)] for model, p in zip(artefacts.models, profiles, strict=True)]
    settings = list(dict.fromkeys(_setting(profile) for profile in profiles))
    table = Table(HEADINGS, [False, *(True for _ in HEADINGS[1:])], rows)
    return CostSection(table, settings, cost_chart(artefacts.models, artefacts.profiles))


def _row(profile: Profile) -> list[str]:
    return [
        f"{profile.parameters / 1e6:.2f}",
        f"{profile.flops / 1e9:.1f}",
        _spread(profile.step_seconds),
        f"{profile.step_ratio.median:.2f}",
        f"{profile.step_memory_mb:,.0f}",
        _spread(profile.inference_seconds),
        f"{profile.inference_memory_mb:,.0f}",
    ]


def _spread(spread: Spread) -> str:
    return f"{spread.median:.3g} ({spread.low:.3g} to {spread.high:.3g})"


def _setting(profile: Profile) -> str:
    size = " × ".join(map(str, profile.patch_size))
    threads = f"{profile.threads} {'thread' if profile.threads == 1 else 'threads'}"
    return f"{profile.device}, {threads}, batches of {profile.batch_size} patches of {size} voxels"
