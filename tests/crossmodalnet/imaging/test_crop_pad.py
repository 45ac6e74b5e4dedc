import torch

from crossmodalnet.imaging.samples import pad_to


def test_padding_repeats_the_border_on_both_sides():
    padded = pad_to(torch.tensor([1.0, 2.0]).reshape(1, 1, 1, 2), (1, 1, 5))
    assert padded.flatten().tolist() == [1, 1, 2, 2, 2]


def test_large_enough_volumes_stay():
    volume = torch.rand(2, 3, 4, 5)
    assert torch.equal(pad_to(volume, (3, 4, 4)), volume)
