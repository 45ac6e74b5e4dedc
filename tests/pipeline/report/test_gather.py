import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.report.gather import gather
from pipeline.report.records import Artefacts

PAIR = "ct_1001+mr_1004"


def test_results_are_the_models_in_order_then_the_atlas(artefacts: Artefacts) -> None:
    assert [result.name for result in artefacts.results] == ["crossmodalnet", "mednext", "atlas"]
    assert artefacts.atlas.title == "Atlas baseline"


def test_mean_comes_from_the_metrics_file_and_interval_from_the_table(
    made: Path, artefacts: Artefacts
) -> None:
    metrics = json.loads((made / "metrics/mednext.json").read_text())
    intervals = pd.read_csv(made / "evaluation/mednext/intervals.csv").set_index(["metric", "structure"])
    estimate = artefacts.results[1].estimates["iou", "RA"]
    assert estimate.mean == metrics["miou"]["RA"]
    assert estimate.low == intervals.loc[("iou", "RA"), "low"]


def test_undefined_structure_has_no_estimate(project: Path) -> None:
    path = project / "metrics/crossmodalnet.json"
    metrics = json.loads(path.read_text())
    del metrics["dice"]["PA"]
    path.write_text(json.dumps(metrics))
    estimates = gather(["crossmodalnet"], "phantom", project).models[0].estimates
    assert ("dice", "PA") not in estimates
    assert ("dice", "AO") in estimates


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("data/split.json", "split"),
        ("data/registration_qc/pairs.csv", "register"),
        (f"data/registration_qc/checkerboards/{PAIR}.png", "register"),
        (f"data/registered/{PAIR}/mr.nii.gz", "register"),
        ("data/crop_qc.csv", "crop"),
        ("curves/mednext.csv", "train"),
        ("models/mednext/card.json", "train"),
        ("metrics/mednext.json", "evaluate"),
        ("evaluation/mednext/intervals.csv", "evaluate"),
        (f"evaluation/mednext/predictions/{PAIR}.nii.gz", "evaluate"),
        ("evaluation/atlas/cases.csv", "atlas"),
    ],
)
def test_missing_artefact_is_named_with_the_stage_that_makes_it(project: Path, path: str, stage: str) -> None:
    (project / path).unlink()
    with pytest.raises(DataError) as error:
        gather(["crossmodalnet", "mednext"], "phantom", project)
    assert str(project / path) in str(error.value)
    assert f"dvc repro {stage}`" in str(error.value)


def test_table_without_a_column_is_refused(project: Path) -> None:
    path = project / "curves/mednext.csv"
    pd.read_csv(path).drop(columns="val_dice").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"mednext.csv lacks val_dice.*--force train"):
        gather(["mednext"], "phantom", project)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_damaged_split_is_refused(project: Path, content: str) -> None:
    (project / "data/split.json").write_text(content)
    with pytest.raises(DataError, match=r"split.json .*dvc repro split"):
        gather(["mednext"], "phantom", project)


def test_every_test_pair_must_be_scored(project: Path) -> None:
    path = project / "evaluation/atlas/cases.csv"
    cases = pd.read_csv(path)
    cases[cases["pair"] != PAIR].to_csv(path, index=False)
    with pytest.raises(DataError, match=r"lacks test pairs ct_1001\+mr_1004"):
        gather(["mednext"], "phantom", project)
