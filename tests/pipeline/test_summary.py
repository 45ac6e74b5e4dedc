import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.errors import DataError
from pipeline.summary import print_summary

VALUES = {"miou": 0.81, "hd95_mm": 4.25, "nsd": 0.9}


def add(top: Path, model: str, dice: float, *, interval: bool = True) -> None:
    content = {"dice": {"mean": dice}, **{k: {"mean": v} for k, v in VALUES.items()}, "n_missed": 2}
    (top / "metrics").mkdir(exist_ok=True)
    (top / "metrics" / f"{model}.json").write_text(json.dumps(content))
    if interval:
        (top / "evaluation" / model).mkdir(parents=True)
        rows = f"metric,structure,mean,low,high\ndice,mean,{dice},{dice - 0.1},{dice + 0.05}\n"
        (top / "evaluation" / model / "intervals.csv").write_text(rows)


def printed(top: Path) -> list[str]:
    stream = io.StringIO()
    print_summary(Console(file=stream, width=80), top)
    return stream.getvalue().splitlines()


def test_models_then_the_atlas_then_the_report(tmp_path: Path) -> None:
    add(tmp_path, "atlas", 0.7)
    add(tmp_path, "crossmodalnet", 0.9)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").touch()
    *_, model, atlas, report = printed(tmp_path)
    assert "CrossModalNet" in model
    assert "0.900 [0.800, 0.950]" in model
    assert "Atlas baseline" in atlas
    assert "0.700" in atlas
    assert report == f"Report: {(tmp_path / 'report' / 'index.html').resolve()}"


def test_without_intervals_or_report(tmp_path: Path) -> None:
    add(tmp_path, "mine", 0.5, interval=False)
    *_, row, report = printed(tmp_path)
    assert row.replace("│", "").split() == ["mine", "0.500", "0.810", "4.2", "0.900", "2"]
    assert report.endswith("is missing: run `dvc repro`")


def test_nothing_evaluated(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro"):
        print_summary(Console(file=io.StringIO()), tmp_path)
