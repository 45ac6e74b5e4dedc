import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from crossmodalnet.errors import DataError
from pipeline.comparison.tables import print_summary

HEADER = "method,structure,metric,mean,low,high,num_subjects,num_seeds"
OTHERS = {"iou": 0.81, "hd95_mm": 4.25, "nsd": 0.9}


def add(top: Path, method: str, dice: float, seeds: int = 2) -> None:
    (top / "comparison").mkdir(exist_ok=True)
    path = top / "comparison/scores.csv"
    lines = path.read_text("utf-8").splitlines() if path.exists() else [HEADER]
    for metric, value in {"dice": dice, **OTHERS}.items():
        lines += [
            f"{method},mean,{metric},{value},{value - 0.1},{value + 0.05},5,{seeds}",
            f"{method},LV,{metric},0,0,0,5,1",
        ]
    path.write_text("\n".join(lines) + "\n")
    names = ["atlas"] if method == "atlas" else [f"{method}/seed{seed}" for seed in range(seeds)]
    for name in names:
        (top / "metrics" / name).parent.mkdir(parents=True, exist_ok=True)
        (top / "metrics" / f"{name}.json").write_text(json.dumps({"missed": 2}))


def printed(top: Path) -> list[str]:
    stream = io.StringIO()
    print_summary(Console(file=stream, width=100), top)
    return stream.getvalue().splitlines()


def test_models_then_ablations_then_the_atlas_then_the_report(tmp_path: Path) -> None:
    for name, dice in (
        ("atlas", 0.7),
        ("crossmodalnet-no_cross", 0.5),
        ("crossmodalnet", 0.9),
        ("mine", 0.1),
    ):
        add(tmp_path, name, dice)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").touch()
    *_, model, mine, ablation, atlas, report = printed(tmp_path)
    assert model.replace("│", "").split() == [
        "CrossModalNet",
        "0.900",
        "[0.800,",
        "0.950]",
        "0.810",
        "4.2",
        "0.900",
        "4",
    ]
    assert mine.split()[0] == "mine"
    assert "0.500" in ablation
    assert "Atlas baseline" in atlas
    assert atlas.split()[-1] == "2"
    assert report == f"Report: {(tmp_path / 'report' / 'index.html').resolve()}"


def test_without_report(tmp_path: Path) -> None:
    add(tmp_path, "mine", 0.5)
    assert printed(tmp_path)[-1].endswith("is missing: run `dvc repro`")


def test_nothing_compared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro"):
        print_summary(Console(file=io.StringIO()), tmp_path)


@pytest.mark.parametrize("width", [20, 40, 60, 72])
def test_a_narrow_terminal_cuts_no_number(tmp_path: Path, width: int) -> None:
    add(tmp_path, "crossmodalnet", 0.9)
    add(tmp_path, "atlas", 0.7)
    stream = io.StringIO()
    print_summary(Console(file=stream, width=width), tmp_path)
    text = stream.getvalue()
    assert "…" not in text
    for value in ("0.900 [0.800, 0.950]", "0.810", "4.2", "0.700 [0.600, 0.750]", "Atlas baseline"):
        assert value in text


def test_a_page_that_is_a_link_keeps_its_own_name(tmp_path: Path) -> None:
    add(tmp_path, "crossmodalnet", 0.9)
    (tmp_path / "report").mkdir()
    (tmp_path / "cached").touch()
    (tmp_path / "report/index.html").symlink_to(tmp_path / "cached")
    assert printed(tmp_path)[-1].endswith("report/index.html")
