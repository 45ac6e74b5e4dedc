import numpy as np
import pytest

from crossmodalnet.imaging.structures import (
    ABBREVIATIONS,
    NUM_CLASSES,
    STRUCTURES,
    to_codes,
    to_indices,
    unknown_codes,
)


def test_the_codes_of_mmwhs() -> None:
    expected = {"LV": 500, "RV": 600, "LA": 420, "RA": 550, "Myo": 205, "AO": 820, "PA": 850}
    assert {s.abbreviation: s.code for s in STRUCTURES} == expected
    assert NUM_CLASSES == len(ABBREVIATIONS) + 1 == 8


def test_there_and_back() -> None:
    codes = np.array([[0, 205, 420], [500, 550, 600], [820, 850, 0]])
    assert np.array_equal(to_codes(to_indices(codes)), codes)


def test_the_stray_code_means_left_atrium() -> None:
    assert to_indices(np.array([421])).tolist() == to_indices(np.array([420])).tolist()


def test_unknown_codes_are_named() -> None:
    assert unknown_codes(np.array([0, 7, 500, 421, 300])) == [7, 300]
    with pytest.raises(ValueError, match=r"\[7, 300\]"):
        to_indices(np.array([0, 7, 300]))
