import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError, UsageError
from pipeline.report.artefacts import gather
from tests.pipeline.report.conftest import list_methods

PAIR = "ct_1001+mr_1004"


def test_means_and_intervals_come_from_the_comparison(made, artefacts):
    scores = pd.read_csv(made / "comparison/scores.csv").set_index(["method", "structure", "metric"])
    for method, structure, metric in (("mednext", "RA", "iou"), ("crossmodalnet-no_cross", "mean", "dice")):
        row = scores.loc[(method, structure, metric), ["mean", "low", "high"]]
        assert artefacts.score(method, metric, structure) == tuple(row)


def test_cases_are_averaged_over_seeds_and_pictures_are_of_the_first(made, artefacts):
    folder, cases = made / "evaluation/mednext", artefacts.cases[artefacts.cases["method"] == "mednext"]
    runs = [pd.read_csv(folder / f"seed{seed}/cases.csv") for seed in (0, 3)]
    assert cases["dice"].tolist() == pytest.approx((runs[0]["dice"] + runs[1]["dice"]) / 2)
    assert cases["pair"].tolist() == runs[0]["pair"].tolist()
    assert cases["missed"].sum() == 2  # one in each run
    assert artefacts.predictions["mednext"][PAIR] == folder / f"seed0/predictions/{PAIR}.nii.gz"


def test_score_that_one_seed_leaves_undefined_is_that_of_the_other(project):
    paths = [project / f"evaluation/mednext/seed{seed}/cases.csv" for seed in (0, 3)]
    first, second = (pd.read_csv(path) for path in paths)
    first.loc[0, "dice"] = np.nan
    first.to_csv(paths[0], index=False)
    cases = gather(project).cases
    assert cases[cases["method"] == "mednext"]["dice"].iloc[0] == second.loc[0, "dice"]


def test_table_without_a_column_is_rejected(project):
    path = project / "curves/mednext/seed3.csv"
    pd.read_csv(path).drop(columns="val_dice").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"seed3.csv lacks val_dice.*--force train"):
        gather(project)


def test_split_without_test_pairs_is_rejected(project):
    (project / "data/split.json").write_text('{"train": [], "validation": [], "test": []}')
    with pytest.raises(DataError, match="lists no test pair"):
        gather(project)


def test_every_test_pair_must_be_scored(project):
    path = project / "evaluation/atlas/cases.csv"
    cases = pd.read_csv(path)
    cases[cases["pair"] != PAIR].to_csv(path, index=False)
    with pytest.raises(DataError, match=r"lacks test pairs ct_1001\+mr_1004"):
        gather(project)


def test_method_that_was_not_compared_is_reported(project):
    path = project / "comparison/scores.csv"
    pd.read_csv(path).query("method != 'crossmodalnet-mr_only'").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"no rows of crossmodalnet-mr_only.*compare"):
        gather(project)


def test_ablations_need_the_network_that_they_vary(project):
    list_methods(project, "mednext", "no_cross")
    with pytest.raises(UsageError, match="ablations are compared with crossmodalnet"):
        gather(project)
