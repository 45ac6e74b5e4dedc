from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.comparison.adaptation import LOWER, UPPER, read_domain_scores

Cases = Callable[..., pd.DataFrame]


@pytest.fixture
def evaluation(tmp_path: Path, cases: Cases) -> Path:
    """Evaluations of an adapted network, both bounds and a part, with two seeds."""
    for variant in ("", "-source_only", "-supervised", "-no_output"):
        for seed in (0, 4):
            folder = tmp_path / f"crossmodalnet{variant}/seed{seed}"
            (folder / "target").mkdir(parents=True)
            cases([[0.9], [0.8]]).drop(columns="seed").to_csv(folder / "cases.csv", index=False)
            target = cases([[0.5], [0.6], [0.7]], prefix="t").drop(columns="seed")
            target.to_csv(folder / "target/cases.csv", index=False)
    return tmp_path


VARIANTS = ("no_output", "supervised", "source_only")


def test_both_domains_of_every_method_and_seed_are_read(evaluation: Path) -> None:
    found = read_domain_scores(evaluation, VARIANTS, (0, 4))
    assert (
        list(found.source) == list(found.target) == [LOWER, "crossmodalnet", "crossmodalnet-no_output", UPPER]
    )
    assert set(found.source[UPPER]["pair"]) == {"p00", "p01"}
    assert set(found.target[LOWER]["pair"]) == {"t00", "t01", "t02"}
    assert found.target["crossmodalnet"]["seed"].unique().tolist() == [0, 4]


@pytest.mark.parametrize("path", ["cases.csv", "target/cases.csv"])
def test_a_missing_evaluation_names_file_and_command(evaluation: Path, path: str) -> None:
    (evaluation / "crossmodalnet-no_output/seed4" / path).unlink()
    message = rf"no_output/seed4/{path} cannot be read .*: run `dvc repro evaluate evaluate-adaptation`"
    with pytest.raises(DataError, match=message):
        read_domain_scores(evaluation, VARIANTS, (0, 4))


def test_a_target_without_labels_has_no_scores(evaluation: Path) -> None:
    for path in evaluation.glob("*/*/target/cases.csv"):
        path.unlink()
    found = read_domain_scores(evaluation, VARIANTS, (0, 4))
    assert len(found.source) == 4
    assert found.target == {}
