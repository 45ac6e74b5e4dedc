import shutil
from pathlib import Path

import pytest

from pipeline.report.artefacts import Artefacts, gather
from tests.pipeline.report.fake_artefacts import make_artefacts
from tests.pipeline.report.pictures import leave_charts_empty

MODELS, ABLATIONS, SEEDS = ("crossmodalnet", "mednext"), ("no_cross", "mr_only"), (0, 3)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts of two models, two ablations and two seeds, to be read only."""
    folder = tmp_path_factory.mktemp("made")
    make_artefacts(folder, models=MODELS, ablations=ABLATIONS, seeds=SEEDS)
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
    folder = tmp_path_factory.mktemp("alone") / "project"
    shutil.copytree(made, folder)
    list_methods(folder, "crossmodalnet", seeds="0")
    return gather(folder)


@pytest.fixture
def blank_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_charts_empty(monkeypatch)


def list_methods(folder: Path, models: str, ablations: str = "", seeds: str = "0, 3") -> None:
    """List other methods and seeds in the first lines of params.yaml."""
    path = folder / "params.yaml"
    rest = path.read_text("utf-8").splitlines()[3:]
    lines = (f"models: [{models}]", f"ablations: [{ablations}]", f"seeds: [{seeds}]", *rest)
    path.write_text("\n".join(lines) + "\n")
