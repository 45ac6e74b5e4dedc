import numpy as np

from crossmodalnet.roi.restore import keep_largest_component


def test_smaller_pieces_become_background() -> None:
    labels = np.zeros((9, 8, 7), np.uint8)
    labels[1:4, 1:4, 1:4] = 3
    labels[6:8, 6:8, 5] = 3
    expected = labels.copy()
    expected[6:8] = 0
    np.testing.assert_array_equal(keep_largest_component(labels), expected)


def test_structures_do_not_join_and_do_not_count_for_each_other() -> None:
    labels = np.zeros((12, 3, 3), np.uint8)
    labels[0:3], labels[3:7], labels[7:9], labels[9:] = 1, 2, 1, 7
    expected = labels.copy()
    expected[7:9] = 0  # the second piece of 1, though it touches 2
    np.testing.assert_array_equal(keep_largest_component(labels), expected)


def test_corners_connect() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[2, 2, 2] = 4
    np.testing.assert_array_equal(keep_largest_component(labels), labels)


def test_of_equals_the_first_stays_and_the_input_is_untouched() -> None:
    labels = np.zeros((7, 2, 2), np.uint8)
    labels[0], labels[4] = 2, 2
    before = labels.copy()
    assert np.unique(np.argwhere(keep_largest_component(labels))[:, 0]).tolist() == [0]
    np.testing.assert_array_equal(labels, before)


def test_empty() -> None:
    assert not keep_largest_component(np.zeros((3, 4, 5), np.uint8)).any()
