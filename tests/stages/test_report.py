from pathlib import Path

import pytest

from stages.report import main
from tests.pipeline.report.fake_artefacts import make_artefacts


def test_stage_writes_one_small_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_artefacts(tmp_path)
    monkeypatch.chdir(tmp_path)
    main()
    page = tmp_path / "report/index.html"
    assert "CrossModalNet" in page.read_text("utf-8")
    assert page.stat().st_size < 8e6
