from dataclasses import replace

import pandas as pd

from pipeline.report.comparison_records import Comparison, Difference
from pipeline.report.records import Artefacts, Estimate, Result
from pipeline.report.standing import not_first, standings, summary


def method(name: str, dice: float, iou: float, hd95_mm: float) -> Result:
    means = {"dice": dice, "iou": iou, "hd95_mm": hd95_mm}
    estimates = {(key, "mean"): Estimate(mean, None, None) for key, mean in means.items()}
    return Result(name, estimates, pd.DataFrame(), 0, 0, {})


def with_methods(artefacts: Artefacts, *methods: Result) -> Artefacts:
    known = Difference(0.1, 0.0, 0.2, 0.001, 0.002, 1.0, "supported")
    comparison = Comparison({("dice", "mednext", "crossmodalnet"): known}, pd.DataFrame(), [])
    return replace(artefacts, results=[*methods, artefacts.atlas], comparison=comparison)


def test_who_is_first_is_said_for_each_of_the_papers_measures(artefacts: Artefacts) -> None:
    ours, other = method("crossmodalnet", 0.8, 0.7, 4.0), method("mednext", 0.9, 0.6, 5.0)
    artefacts = with_methods(artefacts, ours, other)
    assert standings(artefacts) == [
        (
            False,
            "Dice: MedNeXt is first with 0.900; CrossModalNet is number 2 of 2 with 0.800 "
            "(a supported difference, p = 0.002 after Holm's correction).",
        ),
        (True, "MIoU: CrossModalNet is first with 0.700; next is MedNeXt with 0.600 (not tested)."),
        (True, "HD95: CrossModalNet is first with 4.0 mm; next is MedNeXt with 5.0 mm (not tested)."),
    ]
    assert not_first(artefacts) == ["Dice"]
    assert summary(artefacts) == [
        "Among 2 networks, CrossModalNet is first in MIoU and HD95 and not first in Dice."
    ]


def test_a_network_that_is_alone_is_not_called_first(artefacts: Artefacts) -> None:
    artefacts = with_methods(artefacts, method("crossmodalnet", 0.1, 0.1, 9.0))
    assert standings(artefacts) == not_first(artefacts) == summary(artefacts) == []


def test_the_atlas_is_no_network(artefacts: Artefacts) -> None:
    behind_atlas = [method("crossmodalnet", 0.2, 0.1, 99.0), method("mednext", 0.1, 0.0, 100.0)]
    assert not_first(with_methods(artefacts, *behind_atlas)) == []
