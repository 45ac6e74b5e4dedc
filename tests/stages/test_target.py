import subprocess
import sys
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from pipeline.preparation.domain import read_domain, read_labelled_names
from pipeline.runtime.paths import TOP
from stages.target import main


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_off_is_a_record_of_it(top: Path) -> None:
    (top / "params.yaml").write_text("adapt: {enabled: false}\n")
    main()
    assert read_domain() is None
    assert read_labelled_names() == []
    assert len(list((top / "data").rglob("*"))) == 4


def test_off_needs_neither_torch_nor_ants(top: Path) -> None:
    (top / "params.yaml").write_text("{}\n")
    code = "import sys; from stages.target import main; main(); print({'torch', 'ants'} & set(sys.modules))"
    said = subprocess.check_output([sys.executable, "-c", code], env={"PYTHONPATH": str(TOP)}, text=True)
    assert said.strip() == "set()"


def test_a_fault_leaves_the_old_target(top: Path) -> None:
    (top / "params.yaml").write_text("adapt: {enabled: true}\n")
    (top / "data/target").mkdir(parents=True)
    (top / "data/target/old").touch()
    with pytest.raises(DataError, match="dvc repro download"):
        main()
    assert [path.name for path in (top / "data").rglob("*")] == ["target", "old"]
