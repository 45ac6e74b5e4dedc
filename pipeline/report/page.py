"""Write the page: one self-contained file without scripts, dates or addresses outside it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.io.outputs import whole_folder
from crossmodalnet.metrics.scores import METRICS
from crossmodalnet.metrics.statistics import smallest_p
from pipeline.comparison.titles import title_of
from pipeline.report.artefacts import Artefacts
from pipeline.report.overlays import CaseOverlay, case_overlays, jpeg, mosaic
from pipeline.report.sections import ablations, adaptation, claims, comparison, results, robustness, training

# In the order of the page: id, title in the navigation, and what prepares the data of `sections/<id>.html.jinja`:
# None leaves the section out.
SECTIONS: Sequence[tuple[str, str, Callable[[Artefacts], Mapping[str, Any] | None]]] = (
    ("summary", "Summary", results.summary_section),
    ("comparison", "Comparison", comparison.section),
    ("structures", "Per structure", results.structures_section),
    ("costs", "What it costs", comparison.costs_section),
    ("ablations", "Ablations", ablations.section),
    ("robustness", "Robustness", robustness.section),
    ("literature", "Literature", comparison.literature_section),
    ("adaptation", "Adaptation", adaptation.section),
    ("cases", "Test cases", results.cases_section),
    ("overlays", "Overlays", lambda _: {}),
    ("training", "Training", training.section),
    ("registration", "Registration", training.registration_section),
    ("data", "Data and split", training.split_section),
    ("limits", "Limits", lambda _: {}),
    ("next", "Try next", lambda _: {}),
    ("parameters", "Parameters", training.parameters_section),
    ("claims", "Claims of the paper", claims.section),
)


def write_page(folder: Path, artefacts: Artefacts) -> Path:
    """Write the page and the overlays into a folder of their own, whole or not at all; returns `index.html`.

    The overlays are named by rank, not by case: `dvc plots diff` lays those of two revisions side by side.
    """
    overlays = case_overlays(artefacts)
    page = render(artefacts, overlays)
    with whole_folder(folder) as new:
        (new / "index.html").write_text(page, encoding="utf-8")
        (new / "overlays").mkdir()
        for overlay in overlays:
            for rank in overlay.rank.split(" and "):
                mosaic(overlay).save(new / "overlays" / f"{rank}.png")
    return folder / "index.html"


def render(artefacts: Artefacts, overlays: Sequence[CaseOverlay]) -> str:
    """Make the page's HTML with the overlays that `case_overlays` drew; every text that comes from data is escaped."""
    environment = Environment(
        loader=PackageLoader("pipeline.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "artefacts": artefacts,
        "jpeg": lambda picture: jpeg(picture, artefacts.options.jpeg_quality),
        "metrics": METRICS,
        "overlays": overlays,
        "seeds": " and seeds" if len(artefacts.seeds) > 1 else "",
        "smallest_p": smallest_p,
        "structures": STRUCTURES,
        "title_of": title_of,
    }
    macros = vars(environment.get_template("macros.html.jinja").module)
    environment.globals |= {name: macro for name, macro in macros.items() if not name.startswith("_")}
    shown = []
    for key, title, prepare in SECTIONS:
        content = prepare(artefacts)
        if content is not None:
            html = environment.get_template(f"sections/{key}.html.jinja").render(content)
            shown.append((key, title, Markup(html)))
    style = Markup(Path(__file__).with_name("style.css").read_text("utf-8"))
    return environment.get_template("page.html.jinja").render(style=style, sections=shown)
