import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.comparison.compare import compare, write_comparison
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases

FEW = CompareConfig(bootstrap_samples=200)


def test_all_files_are_written_the_same_each_time(tmp_path: Path, cases: Cases) -> None:
    dice = np.random.default_rng(0).uniform(0.5, 0.9, (5, 2))
    methods = {name: cases(dice - gap) for name, gap in (("vtunet", 0), ("mednext", 0.1), ("atlas", 0.3))}
    contents = []
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        write_comparison(tmp_path / run, compare(methods, "vtunet", FEW))
        contents.append({file.name: file.read_bytes() for file in (tmp_path / run).iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "cases.csv", "scores.csv", "pairwise.csv", "all_pairs.csv", "ranks.csv", "table.csv", "table.tex", "bars.csv",
        "plots.csv", "statements.json",
    }  # fmt: skip
    found = json.loads(contents[0]["statements.json"])
    assert {"metric", "text", "kind"} <= set.intersection(*(set(statement) for statement in found))
    assert {statement["kind"] for statement in found if statement["metric"] == "dice"} == {
        "first",
        "underpowered",
    }
    assert len(pd.read_csv(tmp_path / "a/cases.csv")) == 3 * 5 * 2 * 7


def test_one_method_alone_has_nothing_to_say(tmp_path: Path, cases: Cases) -> None:
    found = compare({"vtunet": cases([[0.5], [0.6]])}, "vtunet", FEW)
    write_comparison(tmp_path, found)
    assert (found.pairs.statements, len(found.pairs.tables["pairwise.csv"])) == ([], 0)
    assert pd.read_csv(tmp_path / "pairwise.csv").columns[0] == "family"


def test_what_others_are_compared_with_must_be_there(cases: Cases) -> None:
    with pytest.raises(DataError, match="crossmodalnet was not evaluated"):
        compare({"vtunet": cases([[0.5]]), "crossmodalnet-cosine": cases([[0.5]])}, "vtunet", FEW)
