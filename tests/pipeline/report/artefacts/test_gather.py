from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError, UsageError
from pipeline.report.artefacts.gather import gather
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimate

PAIR = "ct_1001+mr_1004"
MODELS, ABLATIONS = ("crossmodalnet", "mednext"), ("no_cross", "mr_only")


def collect(top: Path, models: Sequence[str] = MODELS, ablations: Sequence[str] = ABLATIONS) -> Artefacts:
    return gather(models, ablations, (0, 3), "phantom", top)


def test_results_are_the_models_in_order_then_the_atlas(artefacts: Artefacts) -> None:
    assert [result.name for result in artefacts.results] == ["crossmodalnet", "mednext", "atlas"]
    assert artefacts.atlas.title == "Atlas baseline"


def test_means_and_intervals_come_from_the_comparison(made: Path, artefacts: Artefacts) -> None:
    scores = pd.read_csv(made / "comparison/scores.csv").set_index(["method", "structure", "metric"])
    row = scores.loc[("mednext", "RA", "iou")]
    assert artefacts.results[1].estimates["iou", "RA"] == Estimate(row["mean"], row["low"], row["high"])
    row = scores.loc[("crossmodalnet-no_cross", "mean", "dice")]
    assert artefacts.ablations["no_cross"]["dice", "mean"].mean == row["mean"]


def test_undefined_structure_has_no_estimate_and_one_without_interval_has_none(project: Path) -> None:
    path = project / "comparison/scores.csv"
    scores = pd.read_csv(path)
    rows = (scores["method"] == "crossmodalnet") & (scores["metric"] == "dice")
    scores.loc[rows & (scores["structure"] == "PA"), ["mean", "low", "high"]] = np.nan
    scores.loc[rows & (scores["structure"] == "AO"), "low"] = np.nan
    scores.to_csv(path, index=False)
    estimates = collect(project, ["crossmodalnet"]).models[0].estimates
    assert ("dice", "PA") not in estimates
    assert estimates["dice", "AO"].low is None


def test_cases_are_averaged_over_seeds_and_pictures_are_of_the_first(
    made: Path, artefacts: Artefacts
) -> None:
    folder, result = made / "evaluation/mednext", artefacts.results[1]
    runs = [pd.read_csv(folder / f"seed{seed}/cases.csv") for seed in (0, 3)]
    assert result.cases["dice"].tolist() == pytest.approx((runs[0]["dice"] + runs[1]["dice"]) / 2)
    assert result.cases["pair"].tolist() == runs[0]["pair"].tolist()
    assert result.num_missed == 2  # one in each run
    assert result.predictions[PAIR] == folder / f"seed0/predictions/{PAIR}.nii.gz"


def test_score_that_one_seed_leaves_undefined_is_that_of_the_other(project: Path) -> None:
    paths = [project / f"evaluation/mednext/seed{seed}/cases.csv" for seed in (0, 3)]
    first, second = (pd.read_csv(path) for path in paths)
    first.loc[0, "dice"] = np.nan
    first.to_csv(paths[0], index=False)
    assert collect(project, ["mednext"], []).models[0].cases.loc[0, "dice"] == second.loc[0, "dice"]


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("data/split.json", "split"),
        ("data/registration_qc/pairs.csv", "register"),
        (f"data/registration_qc/checkerboards/{PAIR}.png", "register"),
        (f"data/registered/{PAIR}/mr.nii.gz", "register"),
        ("data/crop_qc.csv", "crop"),
        ("curves/mednext/seed3.csv", "train"),
        ("evaluation/mednext/seed3/card.json", "evaluate"),
        (f"evaluation/mednext/seed0/predictions/{PAIR}.nii.gz", "evaluate"),
        ("evaluation/atlas/cases.csv", "atlas"),
        ("comparison/scores.csv", "compare"),
        ("comparison/pairwise.csv", "compare"),
        ("comparison/ranks.csv", "compare"),
        ("comparison/statements.json", "compare"),
        ("profile/mednext.json", "profile"),
        ("audit/mednext/findings.json", "audit"),
        ("profile/crossmodalnet-mr_only.json", "profile-ablation"),
    ],
)
def test_missing_artefact_is_named_with_the_stage_that_makes_it(project: Path, path: str, stage: str) -> None:
    (project / path).unlink()
    with pytest.raises(DataError) as error:
        collect(project)
    assert str(project / path) in str(error.value)
    assert f"dvc repro {stage}`" in str(error.value)


def test_table_without_a_column_is_refused(project: Path) -> None:
    path = project / "curves/mednext/seed3.csv"
    pd.read_csv(path).drop(columns="val_dice").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"seed3.csv lacks val_dice.*--force train"):
        collect(project, ["mednext"], [])


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_damaged_split_is_refused(project: Path, content: str) -> None:
    (project / "data/split.json").write_text(content)
    with pytest.raises(DataError, match=r"split.json .*dvc repro split"):
        collect(project, ["mednext"], [])


def test_every_test_pair_must_be_scored(project: Path) -> None:
    path = project / "evaluation/atlas/cases.csv"
    cases = pd.read_csv(path)
    cases[cases["pair"] != PAIR].to_csv(path, index=False)
    with pytest.raises(DataError, match=r"lacks test pairs ct_1001\+mr_1004"):
        collect(project, ["mednext"], [])


def test_method_that_was_not_compared_is_named(project: Path) -> None:
    path = project / "comparison/scores.csv"
    pd.read_csv(path).query("method != 'crossmodalnet-mr_only'").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"no rows of crossmodalnet-mr_only.*compare"):
        collect(project)


def test_ablations_need_the_network_that_they_vary(project: Path) -> None:
    with pytest.raises(UsageError, match="ablations are compared with crossmodalnet"):
        collect(project, ["mednext"])
