from dataclasses import replace

import pandas as pd

from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimate, Result
from pipeline.report.charts.standing import not_first, summary


def method(name: str, dice: float, iou: float, hd95_mm: float) -> Result:
    means = {"dice": dice, "iou": iou, "hd95_mm": hd95_mm}
    estimates = {(key, "mean"): Estimate(mean, None, None) for key, mean in means.items()}
    return Result(name, estimates, pd.DataFrame(), 0, 0, {})


def with_models(artefacts: Artefacts, *models: Result) -> Artefacts:
    return replace(artefacts, results=[*models, artefacts.atlas])


def test_what_the_reference_is_first_in_is_said(artefacts: Artefacts) -> None:
    ours, other = method("crossmodalnet", 0.8, 0.7, 4.0), method("mednext", 0.9, 0.6, 5.0)
    assert not_first(with_models(artefacts, ours, other)) == ["Dice"]
    assert summary(with_models(artefacts, ours, other)) == [
        "Among 2 networks, CrossModalNet is first in MIoU and HD95 and not first in Dice."
    ]
    assert summary(with_models(artefacts, other, ours)) == [
        "Among 2 networks, MedNeXt is first in Dice and not first in MIoU and HD95."
    ]


def test_a_network_that_is_alone_is_not_called_first(artefacts: Artefacts) -> None:
    alone = with_models(artefacts, method("crossmodalnet", 0.1, 0.1, 9.0))
    assert not_first(alone) == summary(alone) == []


def test_the_atlas_is_no_network(artefacts: Artefacts) -> None:
    behind_atlas = [method("crossmodalnet", 0.2, 0.1, 99.0), method("mednext", 0.1, 0.0, 100.0)]
    assert not_first(with_models(artefacts, *behind_atlas)) == []
