from dataclasses import replace

import pytest

from pipeline.evaluation.profile import Spread
from pipeline.report.artefacts.comparison_records import Difference
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimate
from pipeline.report.comparison.ablations import ablation_section, step_ratio


@pytest.fixture
def example(artefacts: Artefacts) -> Artefacts:
    """Cross attention costs half of a step and harms; the CT stream costs nothing and was not tested."""
    profiles = dict(artefacts.profiles)
    for name, ratio in (
        ("crossmodalnet", 3.0),
        ("crossmodalnet-no_cross", 1.5),
        ("crossmodalnet-mr_only", 3.01),
    ):
        profiles[name] = replace(profiles[name], parameters=2_000_000, step_ratio=Spread(ratio, ratio, ratio))
    differences = {
        ("dice", "crossmodalnet-no_cross", "crossmodalnet"): Difference(
            0.012, 0.004, 0.02, 0.01, 0.02, 0.9, "supported"
        ),
        ("hd95_mm", "crossmodalnet", "crossmodalnet-no_cross"): Difference(
            0.7, -0.1, 1.5, 0.1, 0.2, 0.5, "not_supported"
        ),
    }
    means = {"no_cross": 0.862, "mr_only": 0.7}
    return replace(
        artefacts,
        profiles=profiles,
        comparison=replace(artefacts.comparison, differences=differences),
        ablations={key: {("dice", "mean"): Estimate(mean, None, None)} for key, mean in means.items()},
    )


def test_what_a_part_brings_and_costs_is_said(example: Artefacts) -> None:
    section = ablation_section(example)
    assert section is not None
    assert section.sentences == [
        "Cross attention brings −0.012 Dice (a supported difference, p = 0.02) and +0.7 mm HD95, "
        "and makes a training step 2.00 times as long.",
        "The CT stream: not tested.",
    ]
    assert section.better == ["without cross attention"]


def test_the_table_is_full_minus_ablation(example: Artefacts) -> None:
    section = ablation_section(example)
    assert section is not None
    assert section.table.rows[1:] == [
        ["without cross attention", "0.862", "−0.012 (−0.020 to −0.004)", "0.02", "+0.7 (−0.1 to +1.5)", "2.00",
         "2.00"],
        ["MR only", "0.700", "–", "–", "–", "1.00", "2.00"],
    ]  # fmt: skip


def test_step_times_are_compared_through_the_reference_network(example: Artefacts) -> None:
    assert step_ratio(example, "no_cross") == 2.0


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.51, "makes a training step 1.99 times as long."),
        (2.95, "costs no step time that could be measured."),
        (6.0, "shortens a training step to 0.50 of the time."),
    ],
)
def test_costs_are_put_in_words(example: Artefacts, ratio: float, words: str) -> None:
    variant = replace(example.profiles["mednext"], step_ratio=Spread(ratio, ratio, ratio))
    profiles = {**example.profiles, "crossmodalnet-no_cross": variant}
    section = ablation_section(replace(example, profiles=profiles))
    assert section is not None
    assert section.sentences[0].endswith(words)


def test_tests_and_statements_are_those_of_ablations(artefacts: Artefacts) -> None:
    section = ablation_section(artefacts)
    assert section is not None
    pairs = {(row[0], row[1]) for _, table in section.pairwise for row in table.rows}
    assert pairs == {
        ("CrossModalNet", "CrossModalNet (without cross attention)"), ("CrossModalNet", "CrossModalNet (MR only)"),
    }  # fmt: skip
    ((label, _, text),) = section.said.entries
    assert label == "underpowered"
    assert "against the ablations" in text


def test_without_ablations_there_is_no_section(artefacts: Artefacts) -> None:
    assert ablation_section(replace(artefacts, ablations={})) is None
