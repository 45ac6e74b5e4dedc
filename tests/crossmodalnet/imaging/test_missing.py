import pytest
import torch

from crossmodalnet.imaging.samples import MISSING, is_missing, without


def test_one_channel_is_taken_out_and_the_input_stays() -> None:
    image = torch.rand(3, 2, 4, 5, 6)
    without_mr = without(image, 1)
    assert (without_mr[:, 1] == MISSING).all()
    assert torch.equal(without_mr[:, 0], image[:, 0])
    assert image.min() >= 0


def test_what_is_missing_is_told_per_sample() -> None:
    image = torch.rand(2, 2, 4, 5, 6)
    image[1] = without(image[1], 0)
    assert is_missing(image).tolist() == [[False, False], [True, False]]


def test_a_dark_image_is_not_missing() -> None:
    assert not is_missing(torch.zeros(1, 2, 4, 4, 4)).any()


def test_there_is_no_third_modality() -> None:
    with pytest.raises(ValueError, match="channel must be one of the input's 2, got 2"):
        without(torch.rand(2, 4, 4, 4), 2)
