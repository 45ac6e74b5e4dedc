import pytest
import torch

from crossmodalnet.data.augmentation import AugmentationSettings
from crossmodalnet.data.dataset import LabelledCase, TrainingSet, epoch_order

SETTINGS = AugmentationSettings(0.5, 10.0, 0.1, 1.0, 0.5, 4.0, 1.0, 0.5, (0.7, 1.5), 0.1, 0.1, 0.1, 0.8, 0.1)
OPTIONS = {
    "settings": SETTINGS,
    "patch_size": (8, 8, 8),
    "samples_per_case": 2,
    "foreground_share": 0.5,
    "seed": 3,
    "batch_size": 4,
}


def _cases(count=3, size=8):
    random = torch.Generator().manual_seed(0)
    return [
        LabelledCase(
            f"case{n}",
            torch.rand(2, size, size, size, generator=random),
            torch.randint(0, 8, (size,) * 3, generator=random, dtype=torch.uint8),
        )
        for n in range(count)
    ]


def _set(cases=None, **changes):
    return TrainingSet(cases or _cases(), **{**OPTIONS, **changes})


def test_an_epoch_visits_every_case_as_often():
    order = epoch_order(5, 3, seed=0, epoch=1)
    assert sorted(order[:5]) == sorted(order[5:10]) == sorted(order[10:]) == list(range(5))
    assert order.tolist() != epoch_order(5, 3, seed=0, epoch=2).tolist()


def test_the_last_batch_is_filled_from_the_start_of_the_epoch():
    samples = _set()
    batches = list(samples.batches(0))
    assert samples.steps_per_epoch == len(batches) == 2
    names = [name for batch in batches for name in batch.names]
    assert names[6:] == names[:2]
    assert not torch.equal(batches[1].image[2], batches[0].image[0])  # augmented anew


def test_a_batch_larger_than_the_epoch_wraps_more_than_once():
    (batch,) = _set(_cases(1), samples_per_case=1, batch_size=3).batches(0)
    assert batch.names == ("case0",) * 3


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_very_batches_of_one(world_size):
    whole = list(_set().batches(1))
    shares = [list(_set().batches(1, rank=rank, world_size=world_size)) for rank in range(world_size)]
    for step, batch in enumerate(whole):
        assert torch.equal(batch.image, torch.cat([share[step].image for share in shares]))
        assert torch.equal(batch.label, torch.cat([share[step].label for share in shares]))
        assert batch.names == sum((share[step].names for share in shares), ())


def test_beginning_in_the_middle_of_an_epoch():
    (resumed,) = _set().batches(2, first_step=1)
    assert torch.equal(resumed.image, list(_set().batches(2))[1].image)


def test_threads_do_not_change_samples():
    one, four = (next(_set().batches(0, threads=n)) for n in (1, 4))
    assert torch.equal(one.image, four.image)


def test_epochs_differ():
    a, b = (_set(_cases(1)).sample(0, epoch, 0).image for epoch in (0, 1))
    assert not torch.equal(a, b)


def test_patches_of_larger_cases():
    sample = _set(_cases(1, size=13), settings=None, patch_size=(6, 8, 4)).sample(0, 0, 0)
    assert sample.image.shape == (2, 6, 8, 4)
    assert sample.label.shape == (6, 8, 4)


def test_smaller_cases_are_padded():
    case = _cases(1)[0]
    sample = _set([case], settings=None, patch_size=(8, 10, 8)).sample(0, 0, 0)
    assert torch.equal(sample.label[:, 1:9], case.label)
    assert torch.equal(sample.image[:, :, 9], case.image[:, :, 7])


def test_no_cases():
    with pytest.raises(ValueError, match="at least one case"):
        TrainingSet([], **OPTIONS)
