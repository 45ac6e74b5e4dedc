from pathlib import Path

import numpy as np
import pytest

from crossmodalnet.imaging.codes import CODE_SETS, MMWHS, own_codes, structure_named
from crossmodalnet.imaging.structures import ABBREVIATIONS, NUM_CLASSES, STRUCTURES, to_codes

INDEX = {s.abbreviation: s.index for s in STRUCTURES}


def test_mmwhs_codes_and_class_indices_are_converted_both_ways() -> None:
    expected = {"LV": 500, "RV": 600, "LA": 420, "RA": 550, "Myo": 205, "AO": 820, "PA": 850}
    assert to_codes(np.arange(NUM_CLASSES)).tolist() == [0, *expected.values()]
    assert MMWHS.to_indices(to_codes(np.arange(8))).tolist() == list(range(8))
    assert MMWHS.to_indices(np.array([421])).tolist() == [3]
    assert MMWHS.listed == "0, 205, 420, 500, 550, 600, 820, 850"
    assert MMWHS.unknown(np.array([0, 7, 500, 421, 300])) == [7, 300]
    with pytest.raises(ValueError, match=r"\[7, 300\]"):
        MMWHS.to_indices(np.array([0, 7, 300]))


@pytest.mark.parametrize("name", CODE_SETS)
def test_known_codes_name_every_structure(name: str) -> None:
    assert tuple(CODE_SETS[name].codes) == ABBREVIATIONS
    assert CODE_SETS[name].missing == ()


def test_totalsegmentator() -> None:
    order = [INDEX[name] for name in ("Myo", "LA", "LV", "RA", "RV", "AO", "PA")]
    assert CODE_SETS["totalsegmentator"].to_indices(np.arange(8)).tolist() == [0, *order]
    first = CODE_SETS["totalsegmentator_v1"]
    assert first.to_indices(np.array([44, 45, 46, 47, 48, 7, 49])).tolist() == order
    assert first.to_indices(np.array([5, 104])).tolist() == [0, 0]
    assert first.unknown(np.array([0, 7, 105])) == [105]


def test_user_codes() -> None:
    codes = own_codes({"LV": 10, "Myocardium": [20, 21], "background": [9, 0]})
    assert codes.to_indices(np.array([0, 9, 10, 20, 21])).tolist() == [0, 0, 1, 5, 5]
    assert codes.missing == ("RV", "LA", "RA", "AO", "PA")
    assert codes.codes == {"LV": [10], "Myo": [20, 21]}
    with pytest.raises(ValueError, match=r"codes \[1\.5, 3\.0\]; data.labels uses 0, 10, 20, 21"):
        codes.to_indices(np.array([3.0, 1.5, 10.0]))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"LV": 1, "liver": 2}, "unknown structure 'liver'; known: LV, RV, LA, RA, Myo, AO, PA, background"),
        ({"LV": 1, "RV": 1}, "value 1 of RV has another meaning already"),
        ({"LV": 0}, "value 0 of LV"),
        ({"background": 3}, "every structure is missing"),
        ({}, "every structure is missing"),
    ],
)
def test_invalid_user_codes_are_refused(mapping: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own_codes(mapping)


def test_missing_structures_are_read_as_background() -> None:
    codes = MMWHS.without(["PA", "AO"])
    assert codes.missing == ("AO", "PA")
    assert codes.to_indices(np.array([820, 850, 500])).tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="unknown structure liver"):
        MMWHS.without(["liver"])
    with pytest.raises(ValueError, match="every structure is missing"):
        MMWHS.without(ABBREVIATIONS)


@pytest.mark.parametrize(
    ("name", "abbreviation"),
    [
        *((s.name, s.abbreviation) for s in STRUCTURES), *((name, name) for name in ABBREVIATIONS),
        ("heart_ventricle_left", "LV"), ("Left ventricle blood cavity", "LV"), ("lv_blood-pool", "LV"),
        ("right ventricle", "RV"), ("heart_atrium_left", "LA"), ("Right Atrium", "RA"), ("heart_myocardium", "Myo"),
        ("left ventricle myocardium", "Myo"), ("myocardium of the left ventricle", "Myo"), ("Aorta", "AO"),
        ("ascending aorta", "AO"), ("pulmonary_artery", "PA"),
        ("descending aorta", None), ("right ventricle myocardium", None), ("atrial_appendage_left", None),
        ("pulmonary_vein", None), ("heart", None), ("", None), ("ventricle", None),
    ],
)  # fmt: skip
def test_structures_by_name(name: str, abbreviation: str | None) -> None:
    assert structure_named(name) == (INDEX[abbreviation] if abbreviation else None)


@pytest.mark.parametrize(
    "turned", [np.asfortranarray, lambda codes: codes.transpose(2, 0, 1), lambda codes: codes[::-1, :, ::2]]
)
def test_memory_order_does_not_change_indices(turned) -> None:
    codes = turned(np.random.default_rng(0).choice([0, 205, 420, 421, 820], (5, 6, 7)).astype(np.int16))
    index = {0: 0, 421: 3} | {s.code: s.index for s in STRUCTURES}
    assert MMWHS.to_indices(codes).tolist() == np.vectorize(index.get)(codes).tolist()


def test_memory_mapped_values_become_an_array(tmp_path: Path) -> None:
    values = np.memmap(tmp_path / "codes", np.int16, "w+", shape=(2, 3, 4))
    assert type(MMWHS.to_indices(values)) is np.ndarray
