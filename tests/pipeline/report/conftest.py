import runpy
import shutil
from pathlib import Path

import pytest

from pipeline.report.gather import gather
from pipeline.report.records import Artefacts

make_artefacts = runpy.run_path(str(Path(__file__).with_name("fake_artefacts.py")))["make_artefacts"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts of two models, to be read only."""
    folder = tmp_path_factory.mktemp("made")
    make_artefacts(folder, models=("crossmodalnet", "mednext"))
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """The same artefacts, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "project"))


@pytest.fixture(scope="session")
def artefacts(made: Path) -> Artefacts:
    return gather(["crossmodalnet", "mednext"], "phantom", made)
