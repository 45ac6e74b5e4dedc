import runpy
from pathlib import Path

import pytest

from stages.report import main

FAKE = Path(__file__).parents[1] / "pipeline/report/fake_artefacts.py"


def test_stage_writes_one_small_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runpy.run_path(str(FAKE))["make_artefacts"](tmp_path)
    monkeypatch.chdir(tmp_path)
    main()
    page = tmp_path / "report/index.html"
    assert "CrossModalNet" in page.read_text("utf-8")
    assert page.stat().st_size < 8e6
