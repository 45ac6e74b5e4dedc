"""What it costs: size, time and memory of every network, and Dice against time."""

from typing import Any

from matplotlib.figure import Figure

from pipeline.comparison.titles import title_of
from pipeline.evaluation.profile import Profile, read_profile
from pipeline.report.artefacts import Artefacts
from pipeline.report.charts import colour_of, marker_of, point_legend, svg, whisker
from pipeline.report.tables import make_table


def section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Compare costs; None where there is one network only."""
    if len(artefacts.models) < 2:
        return None
    profiles = {name: read_profile(name, artefacts.top) for name in artefacts.models}
    return {
        "table": make_table([{"Network": title_of(name), **_row(own)} for name, own in profiles.items()]),
        "settings": list(dict.fromkeys(_setting(own) for own in profiles.values())),
        "chart_source": cost_chart(artefacts, profiles),
    }


def _row(profile: Profile) -> dict[str, str]:
    step, inference = (
        f"{spread.median:.3g} ({spread.low:.3g} to {spread.high:.3g})"
        for spread in (profile.step_seconds, profile.inference_seconds)
    )
    return {
        "Parameters, M": f"{profile.parameters / 1e6:.2f}",
        "GFLOPs": f"{profile.flops / 1e9:.1f}",
        "Step, s": step,
        "Step, × U-Net": f"{profile.step_ratio.median:.2f}",
        "Step memory, MB": f"{profile.step_memory_mb:,.0f}",
        "Inference, s": inference,
        "Inference memory, MB": f"{profile.inference_memory_mb:,.0f}",
    }


def _setting(profile: Profile) -> str:
    size = " × ".join(map(str, profile.patch_size))
    threads = f"{profile.threads} {'thread' if profile.threads == 1 else 'threads'}"
    return f"{profile.device}, {threads}, batches of {profile.batch_size} patches of {size} voxels"


def cost_chart(artefacts: Artefacts, profiles: dict[str, Profile]) -> str:
    """Draw mean Dice with its interval against the time of a training step, relative to the reference network."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, profile in profiles.items():
            (dice, *ends), ratio = artefacts.score(name, "dice"), profile.step_ratio
            colour, marker = colour_of(artefacts.models, name), marker_of(artefacts.models, name)
            around = whisker(ratio.median, ratio.low, ratio.high)
            axes.errorbar(ratio.median, dice, whisker(dice, *ends), around, color=colour, lw=0.9, capsize=2)
            axes.plot(ratio.median, dice, marker, color=colour, ms=9, mec="white", mew=0.6)
        axes.set_xlim(left=0)
        axes.set(xlabel="training step, times that of the reference U-Net", ylabel="mean Dice")
        axes.grid(True)
        point_legend(figure, artefacts.models)

    return svg(draw, (10, 3.8))
