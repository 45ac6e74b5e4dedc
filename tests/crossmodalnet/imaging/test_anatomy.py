import numpy as np
import pytest

from crossmodalnet.imaging.anatomy import (
    NOT_ENCLOSED,
    ValueMap,
    contradictions,
    exchanged_reading,
    implausible_volumes,
    known_reading,
    measure_values,
    structure_volumes,
)
from crossmodalnet.imaging.codes import CODE_SETS, own_codes
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.phantom.generate import make_subject

INDEX = CODE_SETS["index"]


@pytest.fixture(scope="module")
def hearts() -> list[ValueMap]:
    labels = [make_subject(modality, 5.0, 4, number)[1] for number in range(3) for modality in Modality]
    return [measure_values([label.data], label.spacing_mm) for label in labels]


def test_volumes_and_touching_areas_over_slabs() -> None:
    data = np.zeros((4, 4, 4), np.uint8)
    data[1:3, 1:3, 1:3] = 1
    data[1:3, 1:3, 3] = 5
    found = measure_values([data[..., :2], data[..., 2:3], data[..., 3:]], (1.0, 2.0, 3.0))
    assert found.volume_ml == pytest.approx({0: 52 * 0.006, 1: 8 * 0.006, 5: 4 * 0.006})
    # Four walls of 2 x 2 faces and the floor; the top touches 5.
    assert found.touching_mm2 == {(0, 1): 8 * 6.0 + 8 * 3.0 + 4 * 2.0, (0, 5): 4 * 6.0 + 4 * 3.0, (1, 5): 4 * 2.0}


def test_hearts_are_sound_as_they_are_meant(hearts: list[ValueMap]) -> None:
    for values in hearts:
        assert contradictions(values, INDEX) == implausible_volumes(values, INDEX) == []
        assert known_reading(values, CODE_SETS["totalsegmentator"]) == "index"
        assert known_reading(values, INDEX) is None
        assert set(structure_volumes(values, INDEX)) == set(INDEX.codes)


@pytest.mark.parametrize(
    ("a", "b"), [("LV", "Myo"), ("LA", "RV"), ("LV", "RV"), ("LA", "RA"), ("AO", "PA"), ("LV", "LA"), ("RV", "PA")]
)
def test_exchanged_structures_are_noticed(hearts: list[ValueMap], a: str, b: str) -> None:
    codes = dict(INDEX.codes)
    codes[a], codes[b] = codes[b], codes[a]
    for values in hearts:
        found = contradictions(values, own_codes(codes))
        assert found
        assert (NOT_ENCLOSED in found) or not {"LV", "Myo"} & {a, b}
        assert exchanged_reading(values, own_codes(codes)) is not None


def test_few_structures_are_judged_by_what_there_is(hearts: list[ValueMap]) -> None:
    assert contradictions(hearts[0], own_codes({"LA": 3, "background": [1, 2, 4, 5, 6, 7]})) == []
    assert implausible_volumes(hearts[0], own_codes({"AO": 0 + 1, "LV": 9})) == []
    tiny = ValueMap({1: 2.0})
    assert implausible_volumes(tiny, INDEX) == ["LV 2 mL (plausible: 20 to 600)"]
