import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.report.artefacts import Artefacts, gather
from pipeline.report.charts import colour_of
from pipeline.report.sections.comparison import (
    TEST_COLUMNS,
    departures,
    literature_section,
    rank_chart,
    read_compared,
    section,
)
from tests.pipeline.report.pictures import num_marks

OURS = "crossmodalnet"
RANKS = ("metric", "method", "rank", "low", "high")


def test_one_network_is_not_compared(alone: Artefacts) -> None:
    assert section(alone) is None
    assert literature_section(alone) is None


@pytest.mark.usefixtures("blank_charts")
def test_statements_are_grouped_by_measure_under_who_is_first(project: Path) -> None:
    rows = [
        ("", "weak", "underpowered", "models"), ("", "weak", "underpowered", "ablations"), ("nsd", "n1", "first", ""),
        ("hd95_mm", "h", "not_supported", "models"), ("dice", "d1", "not_first", ""),
        ("dice", "d2", "supported", "models"), ("dice", "a1", "supported", "ablations"),
    ]  # fmt: skip
    statements = [dict(zip(("metric", "text", "kind", "family"), row, strict=True)) for row in rows]
    (project / "comparison/statements.json").write_text(json.dumps(statements))
    content = section(gather(project))
    assert content is not None
    assert [s["text"] for s in content["standings"]] == ["d1", "weak"]
    groups = {title: [s["text"] for s in group] for title, group in content["by_metric"].items()}
    assert groups == {"Dice": ["d2"], "HD95": ["h"], "NSD": ["n1"]}


@pytest.mark.usefixtures("blank_charts")
def test_tests_are_printed_by_measure_and_family(project: Path) -> None:
    test = (-0.0123, -0.02, 0.004, 0.0625, 0.25, -0.6, "underpowered")
    pairwise = [("dice", OURS, name, *test) for name in ("mednext", f"{OURS}-no_cross")]
    for name, rows in (("pairwise", pairwise), ("all_pairs", [("dice", "mednext", "atlas", *test)])):
        pd.DataFrame(rows, columns=list(TEST_COLUMNS)).to_csv(project / f"comparison/{name}.csv", index=False)
    content = section(gather(project))
    assert content is not None
    title = "Dice (above 0: a is better)"
    assert list(content["differences"]) == [title, f"Everyone against everyone, {title}"]
    table, everyone = content["differences"].values()
    assert table.rows == [  # without the ablation, which has its section
        ["CrossModalNet", "MedNeXt", "−0.012", "−0.020 to +0.004", "0.0625", "0.25", "−0.60", "underpowered"],
    ]  # fmt: skip
    assert table.numeric == [False, False, True, True, True, True, True, False]
    assert everyone.rows[0][:2] == ["MedNeXt", "Atlas baseline"]


def test_settings_that_differ_between_cards_are_listed(artefacts: Artefacts) -> None:
    assert departures(artefacts.cards) == []
    cards = {
        key: {**card, "augment": {"enabled": key[0] == OURS}, "train": {**card["train"], "lr": key[1]}}
        for key, card in artefacts.cards.items()
    }
    assert departures(cards) == ["augment.enabled (True: CrossModalNet; False: MedNeXt)"]
    del cards["mednext", 3]["augment"]
    assert "absent: MedNeXt" in departures(cards)[0]
    long = {key: {**card, "data_fingerprint": f"{key[0]}{'x' * 40}"} for key, card in artefacts.cards.items()}
    assert f"crossmodalnet{'x' * 24}...: CrossModalNet" in departures(long)[0]


@pytest.mark.parametrize("name", [OURS, "mednext", "atlas"])
def test_ranks_are_a_dot_per_measure_and_method(artefacts: Artefacts, name: str) -> None:
    chart = rank_chart(artefacts, read_compared(artefacts, "ranks.csv", RANKS))
    assert num_marks(chart, colour_of(artefacts.models, name)) == 3


def test_unranked_method_has_no_dot(artefacts: Artefacts) -> None:
    ranks = read_compared(artefacts, "ranks.csv", RANKS).query("method != 'mednext'")
    assert num_marks(rank_chart(artefacts, ranks), colour_of(artefacts.models, "mednext")) == 0


def test_published_figures_have_their_sources(artefacts: Artefacts) -> None:
    content = literature_section(artefacts)
    assert content is not None
    table = content["table"]
    assert table.headings == ["Method", "Task", "Dice", "HD, mm", "ASD, mm", "Source"]
    assert table.rows[0][2:5] == ["0.941", "12.5", "0.72"]
    assert table.rows[-1][2:5] == ["0.836", "–", "–"]
    assert all(len(row[5]) > 10 for row in table.rows)


@pytest.mark.usefixtures("blank_charts")
@pytest.mark.parametrize("name", ["pairwise.csv", "ranks.csv", "statements.json"])
def test_missing_artefact_is_reported_with_its_stage(project: Path, name: str) -> None:
    (project / "comparison" / name).unlink()
    with pytest.raises(DataError, match=rf"{name} not found: run `dvc repro compare`"):
        section(gather(project))


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"metric": "dice", "text": "a"}]'])
def test_statements_of_another_form_are_rejected(project: Path, content: str) -> None:
    (project / "comparison/statements.json").write_text(content)
    with pytest.raises(DataError, match=r"must hold a list of objects with metric, text, kind"):
        section(gather(project))


@pytest.mark.usefixtures("blank_charts")
def test_no_ranks_no_chart(project: Path) -> None:
    path = project / "comparison/ranks.csv"
    pd.read_csv(path).iloc[:0].to_csv(path, index=False)
    content = section(replace(gather(project)))
    assert content is not None
    assert content["ranks"] == ""
