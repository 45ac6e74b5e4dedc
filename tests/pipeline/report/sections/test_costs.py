import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmodalnet.errors import DataError
from pipeline.evaluation.profile import read_profile
from pipeline.report.artefacts import Artefacts, gather
from pipeline.report.charts import colour_of
from pipeline.report.sections.costs import cost_chart, section
from tests.pipeline.report.pictures import num_marks


def change(project: Path, **values: Any) -> Artefacts:
    path = project / "profile/mednext.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}))
    return gather(project)


def spread(median: float, low: float, high: float) -> dict[str, float]:
    return {"median": median, "low": low, "high": high}


@pytest.mark.usefixtures("blank_charts")
def test_costs_are_printed_with_their_units(project: Path) -> None:
    changed = change(
        project, parameters=5_558_856, flops=255_800_000_000, step_seconds=spread(0.35, 0.3412, 0.4),
        step_ratio=spread(1.251, 1.0, 2.0), step_memory_mb=1234.5, inference_seconds=spread(12.34, 12.0, 13.0),
        inference_memory_mb=99.6,
    )  # fmt: skip
    content = section(changed)
    assert content is not None
    assert content["table"].rows[1] == [
        "MedNeXt", "5.56", "255.8", "0.35 (0.341 to 0.4)", "1.25", "1,234", "12.3 (12 to 13)", "100",
    ]  # fmt: skip
    assert content["settings"] == ["a processor, 2 threads, batches of 2 patches of 48 × 48 × 48 voxels"]


@pytest.mark.usefixtures("blank_charts")
def test_different_machines_are_listed(project: Path) -> None:
    content = section(change(project, device="another", threads=1))
    assert content is not None
    assert [setting.split(",")[:2] for setting in content["settings"]] == [
        ["a processor", " 2 threads"], ["another", " 1 thread"],
    ]  # fmt: skip


def test_one_network_has_no_such_section(alone: Artefacts) -> None:
    assert section(alone) is None


def test_missing_profile_is_reported_with_its_stage(project: Path) -> None:
    (project / "profile/mednext.json").unlink()
    with pytest.raises(DataError, match=r"mednext.json not found: run `dvc repro profile`"):
        section(gather(project))


def test_network_without_defined_dice_is_not_drawn_against_its_costs(artefacts: Artefacts) -> None:
    scores = artefacts.scores.copy()
    scores.loc[("mednext", "dice", "mean")] = np.nan
    profiles = {name: read_profile(name, artefacts.top) for name in artefacts.models}
    chart = cost_chart(replace(artefacts, scores=scores), profiles)
    points = [num_marks(chart, colour_of(artefacts.models, name)) for name in artefacts.models]
    assert points[0] > points[1] == 1  # its entry in the legend
