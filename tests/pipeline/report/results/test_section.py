from dataclasses import replace

from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimate, Result
from pipeline.report.results.section import result_groups, summaries, verdicts


def named(template: Result, name: str, dice: float) -> Result:
    estimates = {**template.estimates, ("dice", "mean"): Estimate(dice, None, None)}
    return replace(template, name=name, estimates=estimates)


def many(artefacts: Artefacts) -> Artefacts:
    """Three networks, of which the last is best."""
    scores = {"crossmodalnet": 0.7, "mednext": 0.6, "nnformer": 0.9}
    models = [named(artefacts.results[0], name, dice) for name, dice in scores.items()]
    return replace(artefacts, results=[*models, artefacts.atlas])


def test_few_methods_have_a_card_each(artefacts: Artefacts) -> None:
    assert [card.name for card in summaries(artefacts)] == ["crossmodalnet", "mednext", "atlas"]


def test_of_many_the_reference_and_the_best_other_have_one(artefacts: Artefacts) -> None:
    cards = summaries(many(artefacts))
    assert [card.name for card in cards] == ["crossmodalnet", "nnformer"]
    assert cards[1].gain.startswith("best of the 2 others in Dice; +0.")


def test_verdict_counts_the_cases_in_which_a_network_beats_the_atlas(artefacts: Artefacts) -> None:
    ours, _, atlas = artefacts.results
    cases = atlas.cases.copy()
    cases.loc[cases["pair"] == "ct_1001+mr_1004", "dice"] = 1.0
    changed = replace(artefacts, results=[ours, replace(atlas, cases=cases)])
    assert "higher mean Dice than the atlas baseline in 4 of 5 test cases" in verdicts(changed)[0]


def test_table_has_a_group_per_structure_and_a_row_per_method(artefacts: Artefacts) -> None:
    groups = result_groups(artefacts)
    assert [group[0] for group in groups] == ["mean", "LV", "RV", "LA", "RA", "Myo", "AO", "PA"]
    assert [title for title, _ in groups[3][3]] == ["CrossModalNet", "MedNeXt", "Atlas baseline"]
