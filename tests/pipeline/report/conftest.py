import base64
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline.report.artefacts import Artefacts, gather
from tests.pipeline.report.fake_artefacts import make_artefacts


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts of two models, two ablations and two seeds, to be read only."""
    folder = tmp_path_factory.mktemp("made")
    models, ablations = ("crossmodalnet", "mednext"), ("no_cross", "mr_only")
    make_artefacts(folder, models=models, ablations=ablations, seeds=(0, 3))
    with (folder / "params.yaml").open("a") as params:
        params.write("report: {panel_px: 64}\n")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """The same artefacts, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "project"))


@pytest.fixture(scope="session")
def artefacts(made: Path) -> Artefacts:
    return gather(made)


@pytest.fixture(scope="session")
def alone(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    """The first network alone, with one seed."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("alone") / "project"))
    list_methods(folder, "crossmodalnet", seeds="0")
    return gather(folder)


@pytest.fixture
def blank_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the charts of all sections empty, which takes a fraction of the time."""
    monkeypatch.setattr("pipeline.report.charts.picture", lambda *_: b"")


def list_methods(folder: Path, models: str, ablations: str = "", seeds: str = "0, 3") -> None:
    """List other methods and seeds in the first lines of params.yaml."""
    path = folder / "params.yaml"
    rest = path.read_text("utf-8").split("\n", 3)[3]
    path.write_text(f"models: [{models}]\nablations: [{ablations}]\nseeds: [{seeds}]\n{rest}")


def text_of(source: str) -> str:
    head, _, content = source.partition(",")
    assert head == "data:image/svg+xml;base64"
    return base64.b64decode(content).decode()


def num_marks(source: str, colour: str, tag: str = "use") -> int:
    """Count the markers of a colour (`use` elements of the picture), or its filled shapes (`path`)."""
    elements = ElementTree.fromstring(text_of(source)).iter(f"{{http://www.w3.org/2000/svg}}{tag}")
    return sum(f"fill: {colour}" in element.get("style", "") for element in elements)


def num_lines(source: str) -> int:
    return text_of(source).count('id="line2d_')
