from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage

from crossmodalnet.imaging.anatomy import (
    NOT_ENCLOSED,
    UPSIDE_DOWN,
    ValueMap,
    contradictions,
    exchanged_reading,
    implausible_volumes,
    known_reading,
    measure_values,
    misfit,
    structure_volumes,
)
from crossmodalnet.imaging.codes import CODE_SETS, own_codes
from crossmodalnet.imaging.structures import ABBREVIATIONS, Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.phantom.generate import make_subject

INDEX = CODE_SETS["index"]


@pytest.fixture(scope="module")
def subjects() -> list[tuple[Volume, Volume]]:
    return [make_subject(modality, 5.0, 4, number) for number in range(3) for modality in Modality]


@pytest.fixture(scope="module")
def hearts(subjects: list[tuple[Volume, Volume]]) -> list[ValueMap]:
    return [measure_values([label.data], label.affine) for _, label in subjects]


def test_volumes_and_touching_areas_over_slabs() -> None:
    data = np.zeros((4, 4, 4), np.uint8)
    data[1:3, 1:3, 1:3] = 1
    data[1:3, 1:3, 3] = 5
    slabs = [data[..., :2], data[..., 2:3], data[..., 3:]]
    found = measure_values(slabs, np.diag([1.0, 2.0, 3.0, 1.0]))
    assert found.volume_ml == pytest.approx({0: 52 * 0.006, 1: 8 * 0.006, 5: 4 * 0.006})
    # Four walls of 2 x 2 faces and the floor; the top touches 5.
    assert found.touching_mm2 == {(0, 1): 8 * 6.0 + 8 * 3.0 + 4 * 2.0, (0, 5): 4 * 6.0 + 4 * 3.0, (1, 5): 4 * 2.0}
    affine = np.diag([4.0, 4.0, -4.0, 1.0])
    high = measure_values(slabs, affine)
    assert (high.height_mm([1], 0.5), high.height_mm([5, 9], 0.95)) == (-6, -12)
    assert np.isnan(measure_values(slabs, affine, has_axes=False).height_mm([1], 0.5))


def test_hearts_are_sound_as_they_are_meant(hearts: list[ValueMap]) -> None:
    for values in hearts:
        assert contradictions(values, INDEX) == implausible_volumes(values, INDEX) == []
        assert known_reading(values, CODE_SETS["totalsegmentator"]) == "index"
        assert known_reading(values, INDEX) is None
        assert set(structure_volumes(values, INDEX)) == set(INDEX.codes)


@pytest.mark.parametrize(("a", "b"), list(combinations(ABBREVIATIONS, 2)))
def test_any_two_exchanged_structures_are_noticed_and_named(hearts: list[ValueMap], a: str, b: str) -> None:
    codes = own_codes({**INDEX.codes, a: INDEX.codes[b], b: INDEX.codes[a]})
    for values in hearts:
        assert (NOT_ENCLOSED in contradictions(values, codes)) == bool({"LV", "Myo"} & {a, b})
        assert exchanged_reading(values, codes) == (a, b)


def test_heights_of_a_turned_head_and_of_a_whole_aorta(subjects: list[tuple[Volume, Volume]]) -> None:
    for _, label in subjects:
        upside_down = np.diag([1.0, 1.0, -1.0, 1.0]) @ label.affine
        assert contradictions(measure_values([label.data], upside_down), INDEX) == [UPSIDE_DOWN]
        x, y, z = label.grid.to_world(np.indices(label.data.shape).reshape(3, -1)).reshape(3, *label.data.shape)
        aorta = label.data == 6
        descends = np.hypot(x - x[aorta].mean() + 35, y - y[aorta].mean() + 55) < 12
        whole = np.where(descends & (z < z[aorta].max()) & (label.data == 0), np.uint8(6), label.data)
        assert contradictions(measure_values([whole], label.affine), INDEX) == []


def test_a_label_map_that_is_not_its_images_is_noticed(subjects: list[tuple[Volume, Volume]]) -> None:
    axes = np.diag([-5.0, 5.0, 5.0, 1.0])
    noise = np.random.default_rng(0)
    for image, label in subjects:
        for flips, says in (((0,), "seems mirrored left to"), ((1, 2), "seems mirrored front to back and top to")):
            assert misfit(image.data, np.flip(label.data, flips), axes).startswith(says)
        for moved, says in ((0, ""), (-4, "seems displaced by about 20 mm against its image")):
            assert misfit(image.data, ndimage.shift(label.data, (0, moved, 0), order=0), axes) == says
        noisy = image.data + noise.normal(0, 0.15 * np.ptp(np.percentile(image.data, (1, 99))), image.data.shape)
        assert misfit(noisy.astype(np.float32), label.data, axes) == ""
        num = min(label.data.shape[:2])
        turned = label.data[:num, :num].transpose(1, 0, 2)
        assert misfit(image.data[:num, :num], turned, axes) == "seems turned, its axes exchanged, against its image"
    (image, _), (_, other) = subjects[0], subjects[2]
    shape = np.min([image.data.shape, other.data.shape], axis=0)
    both = (data[tuple(slice(n) for n in shape)] for data in (image.data, other.data))
    assert misfit(*both, axes) == "does not fit its image (another patient's?)"


def test_few_structures_are_judged_by_what_there_is(hearts: list[ValueMap]) -> None:
    assert contradictions(hearts[0], own_codes({"LA": 3, "background": [1, 2, 4, 5, 6, 7]})) == []
    assert implausible_volumes(hearts[0], own_codes({"AO": 0 + 1, "LV": 9})) == []
    tiny = ValueMap({1: 2.0})
    assert implausible_volumes(tiny, INDEX) == ["LV 2 mL (plausible: 20 to 600)"]
