"""From artefacts to one self-contained page: no script, no address outside the file, no date."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.io.outputs import whole_folder
from crossmodalnet.metrics.scores import METRICS
from crossmodalnet.metrics.statistics import smallest_p
from pipeline.config.sections import ReportConfig
from pipeline.report.adaptation.section import adaptation_section
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Training
from pipeline.report.audit.section import claims_section
from pipeline.report.charts.curves import curve_chart, overview_chart
from pipeline.report.charts.mosaics import mosaic
from pipeline.report.charts.overlays import CaseOverlay, case_overlay, rank_cases, thumbnail
from pipeline.report.charts.tables import case_table, flatten, frame_table, total_cut_voxels
from pipeline.report.comparison.ablations import ablation_section
from pipeline.report.comparison.costs import cost_section
from pipeline.report.comparison.literature import literature_table
from pipeline.report.comparison.section import comparison_section
from pipeline.report.results.figures import bar_chart, box_plot
from pipeline.report.results.section import result_groups, summaries, verdicts
from pipeline.report.robustness.misregistration_section import misregistration_section
from pipeline.report.robustness.modality_section import modality_tables

FOLDER = Path(__file__).parent
OVERLAYS = "overlays"

COMMANDS = (
    ("dvc exp run -S train.lr=1e-5", "try another value; only what depends on it runs again"),
    ("dvc metrics diff", "compare the numbers with those of the last commit"),
    ("dvc plots diff", "compare curves and bars, old over new, in one page"),
    ("dvc exp show --only-changed --drop /", "list all experiments with their parameters and metrics"),
    (
        "dvc exp run -S split.seed=1",
        "test on other subjects: how much of a difference is the choice of cases?",
    ),
    ("crossmodalnet params use mmwhs", "switch to the settings for real data on one GPU"),
    ("crossmodalnet params explain train", "read what every key means and which values it takes"),
)


def write_page(folder: Path, artefacts: Artefacts, params: ReportConfig) -> Path:
    """Write the page, and the overlays as picture files, into a folder of their own, whole or not at all.

    The overlays are named by rank, not by case: `dvc plots diff` lays those of two revisions side by side.

    Returns:
        the page, `index.html`.
    """
    overlays = draw_overlays(artefacts, params)
    page = render(artefacts, params, overlays)
    with whole_folder(folder) as new:
        (new / "index.html").write_text(page, encoding="utf-8")
        (new / OVERLAYS).mkdir()
        for overlay in overlays:
            picture = mosaic(overlay)
            for rank in overlay.rank.split(" and "):
                picture.save(new / OVERLAYS / f"{rank}.png")
    return folder / "index.html"


def render(artefacts: Artefacts, params: ReportConfig, overlays: Sequence[CaseOverlay]) -> str:
    """Make the page's HTML; every text that comes from data is escaped.

    Args:
        artefacts: all that is shown.
        params: section `report`.
        overlays: overlays that `draw_overlays` gave.
    """
    environment = Environment(
        loader=PackageLoader("pipeline.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page/template.html.jinja")
    style = Markup((FOLDER / "style.css").read_text("utf-8"))
    return template.render(style=style, **_context(artefacts, params, overlays))


def _context(artefacts: Artefacts, params: ReportConfig, overlays: Sequence[CaseOverlay]) -> dict[str, Any]:
    return {
        "artefacts": artefacts,
        "num_cases": len(artefacts.cases),
        "num_seeds": len(artefacts.seeds),
        "smallest_p": f"{smallest_p(len(artefacts.cases)):.3g}",
        "structures": STRUCTURES,
        "metrics": METRICS,
        "summaries": summaries(artefacts),
        "verdicts": verdicts(artefacts),
        "result_groups": result_groups(artefacts),
        "comparison": comparison_section(artefacts),
        "misregistration": misregistration_section(artefacts),
        "modalities": modality_tables(artefacts),
        "costs": cost_section(artefacts),
        "ablations": ablation_section(artefacts),
        "literature": literature_table(),
        "adaptation": adaptation_section(artefacts, params),
        "single": artefacts.atlas is None,
        "one_patient": _one_patient(artefacts),
        "claims": claims_section(artefacts),
        "case_table": case_table(artefacts),
        "overlays": overlays,
        "typical": next(overlay for overlay in overlays if "median" in overlay.rank),
        "cards": [(training, flatten(training.card)) for training in artefacts.trainings],
        "versions": _versions(artefacts),
        "registration": frame_table(artefacts.registration),
        "checkerboards": _checkerboards(artefacts, params),
        "crop": frame_table(artefacts.crop),
        "num_cut": total_cut_voxels(artefacts.crop),
        "shared_subjects": _shared_subjects(artefacts),
        "commands": COMMANDS,
        **_charts(artefacts),
    }


def _one_patient(artefacts: Artefacts) -> str:
    """Whether CT and MR of a pair are of one patient: in all pairs, some or none."""
    if not artefacts.notes.num_one_patient:
        return "none"
    return "all" if artefacts.notes.num_one_patient == artefacts.num_pairs else "some"


def _charts(artefacts: Artefacts) -> dict[str, Any]:
    results, trainings = artefacts.results, artefacts.trainings
    return {
        "overlap_bars": bar_chart(results, ("dice", "iou")),
        "distance_bars": bar_chart(results, ("hd95_mm",)),
        "dice_boxes": box_plot(results, "dice"),
        "distance_boxes": box_plot(results, "hd95_mm"),
        "curves": [(training, curve_chart(training), _cost(training)) for training in trainings],
        "all_curves": overview_chart(trainings) if len(trainings) > 2 else "",
    }


def draw_overlays(artefacts: Artefacts, params: ReportConfig) -> list[CaseOverlay]:
    """Draw best, median and worst case of the first model in params.yaml."""
    ranks = rank_cases(artefacts.reference)
    return [case_overlay(artefacts, pair, rank, params) for pair, rank in ranks.items()]


def _checkerboards(artefacts: Artefacts, params: ReportConfig) -> list[tuple[str, tuple[str, int, int]]]:
    return [
        (pair, thumbnail(path, params.checkerboard_px, params.jpeg_quality))
        for pair, path in artefacts.checkerboards.items()
    ]


def _cost(training: Training) -> str:
    """Say what training took, as far as the curves record it."""
    curve, parts = training.curve, [f"{len(training.curve)} epochs"]
    if "seconds" in curve:
        parts.append(f"{curve['seconds'].sum() / 60:.1f} minutes")
    if "samples_per_second" in curve:
        parts.append(f"{curve['samples_per_second'].median():.2g} samples a second")
    if "peak_memory_mb" in curve:
        parts.append(f"{curve['peak_memory_mb'].max() / 1024:.1f} GB at most")
    return ", ".join(parts)


def _versions(artefacts: Artefacts) -> list[tuple[str, str]]:
    """List package versions and machine facts of the first model's card."""
    card: Mapping[str, Any] = artefacts.trainings[0].card
    found = {key: card[key] for key in ("versions", "machine", "device") if key in card}
    return [(name.removeprefix("versions."), text) for name, text in flatten(found)]


def _shared_subjects(artefacts: Artefacts) -> list[str]:
    """List subjects of either modality that are in more than one role; there should be none."""
    roles = [{name for pair in pairs for name in pair.split("+")} for pairs in artefacts.split.values()]
    return sorted(name for name in set().union(*roles) if sum(name in role for role in roles) > 1)
