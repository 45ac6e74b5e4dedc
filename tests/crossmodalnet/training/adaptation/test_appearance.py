import pytest
import torch
from scipy import stats

from crossmodalnet.training.adaptation.appearance import match_histogram


def test_the_histogram_becomes_that_of_the_reference():
    image, reference = torch.rand(2, 20, 20, 20), torch.rand(2, 16, 18, 20) ** 3 * 0.5
    matched = match_histogram(image, reference)
    for own, other in zip(matched, reference, strict=True):
        assert stats.ks_2samp(own.flatten().numpy(), other.flatten().numpy()).statistic < 0.01
    assert stats.ks_2samp(image[0].flatten().numpy(), reference[0].flatten().numpy()).statistic > 0.4


def test_order_is_kept_and_equal_stays_equal():
    image = torch.rand(1, 12, 12, 12)
    image[0, :6] = 0  # flat background, half of all
    matched = match_histogram(image, torch.rand(1, 12, 12, 12))
    assert matched[0, :6].unique().numel() == 1
    order = image.flatten().argsort()
    assert (matched.flatten()[order].diff() >= -1e-6).all()


def test_to_itself_nothing_changes_much():
    image = torch.rand(2, 15, 15, 15)
    torch.testing.assert_close(match_histogram(image, image), image, rtol=0, atol=5e-3)


def test_a_flat_image_takes_the_mean_of_the_references_quantiles():
    reference = torch.rand(1, 9, 9, 9)
    matched = match_histogram(torch.ones(1, 4, 4, 4), reference)
    assert matched.shape == (1, 4, 4, 4)
    assert matched.unique().numel() == 1
    assert matched.mean().item() == pytest.approx(reference.mean().item(), abs=0.02)


def test_channels_must_agree():
    with pytest.raises(ValueError, match="same channels, got 2 and 1"):
        match_histogram(torch.rand(2, 4, 4, 4), torch.rand(1, 4, 4, 4))
