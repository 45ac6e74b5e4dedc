import runpy
import shutil
from pathlib import Path

import pytest

from pipeline.report.artefacts.gather import gather
from pipeline.report.artefacts.records import Artefacts
from tests.pipeline.report.blank import leave_charts_empty

MODELS, ABLATIONS, SEEDS = ("crossmodalnet", "mednext"), ("no_cross", "mr_only"), (0, 3)

make_artefacts = runpy.run_path(str(Path(__file__).with_name("fake_artefacts.py")))["make_artefacts"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts of two models, two ablations and two seeds, to be read only."""
    folder = tmp_path_factory.mktemp("made")
    make_artefacts(folder, models=MODELS, ablations=ABLATIONS, seeds=SEEDS)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """The same artefacts, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "project"))


@pytest.fixture(scope="session")
def artefacts(made: Path) -> Artefacts:
    return gather(MODELS, ABLATIONS, SEEDS, "phantom", made)


@pytest.fixture
def blank_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_charts_empty(monkeypatch)
