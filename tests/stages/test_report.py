from pathlib import Path

import pandas as pd
import pytest

from stages.report import main
from tests.pipeline.report.fake_artefacts import make_artefacts


def test_stage_writes_one_small_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_artefacts(tmp_path)
    monkeypatch.chdir(tmp_path)
    curve = next((tmp_path / "curves").rglob("*.csv"))
    pd.read_csv(curve).assign(loss_dice=0.9).to_csv(curve, index=False)
    main()
    assert "the network hardly learned" in caplog.text
    page = tmp_path / "report/index.html"
    assert "The loss did not fall." in page.read_text("utf-8")
    assert "CrossModalNet" in page.read_text("utf-8")
    assert page.stat().st_size < 8e6
