from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from crossmodalnet.imaging.samples import MISSING, LabelledCase, is_missing
from crossmodalnet.training.augmentation import Augmenter
from crossmodalnet.training.config import AugmentationConfig
from crossmodalnet.training.dataset import TrainingSet, draw_misregistration, draw_region, sample_seed

AUGMENTATION = AugmentationConfig(
    affine_probability=0.5, rotation_degrees=10.0, shift_voxels=1.0, elastic_probability=0.5,
    elastic_spacing_voxels=4.0, elastic_voxels=1.0, intensity_probability=0.5, misregistration_voxels=3.0,
)  # fmt: skip
OPTIONS = {
    "augmentation": AUGMENTATION, "patch_size": (8, 8, 8), "samples_per_case": 2, "seed": 3, "batch_size": 4,
}  # fmt: skip


def _misregistered(probability):
    return AUGMENTATION.model_copy(update={"misregistration_probability": probability})


# Every change of a pair as a pair.
CHANGES = {"modality_dropout": 0.6, "augmentation": _misregistered(0.6)}


def _cases(count=3, size=8):
    random = torch.Generator().manual_seed(0)

    def case(n):
        labels = torch.randint(0, 8, (2, size, size, size), generator=random, dtype=torch.uint8)
        return LabelledCase(f"case{n}", torch.rand(2, size, size, size, generator=random), *labels)

    return [case(n) for n in range(count)]


def _set(cases=None, **changes):
    return TrainingSet(cases or _cases(), **{**OPTIONS, **changes})


def _missing(sample):
    """What a sample lacks: (CT, MR)."""
    return tuple(is_missing(sample.image[None])[0].tolist())


def _losses(case, probability, count):
    """How many of the samples of a small case lack what."""
    samples = _set([case], augmentation=None, patch_size=(4, 4, 4), modality_dropout=probability)
    return Counter(_missing(samples.sample(0, 0, position)) for position in range(count))


def test_epoch_visits_every_case_equally_often():
    samples = _set(_cases(5), samples_per_case=3, batch_size=5)
    first, second = ([batch.names for batch in samples.batches(epoch)] for epoch in (1, 2))
    assert [sorted(names) for names in first] == [[f"case{n}" for n in range(5)]] * 3
    assert first != second


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


@pytest.mark.parametrize("changes", [{}, CHANGES])
@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_batches_of_one(world_size, changes):
    samples = _set(**changes)
    whole = list(samples.batches(1))
    shares = [list(samples.batches(1, rank=rank, world_size=world_size)) for rank in range(world_size)]
    for step, batch in enumerate(whole):
        assert torch.equal(batch.image, torch.cat([share[step].image for share in shares]))
        assert torch.equal(batch.label, torch.cat([share[step].label for share in shares]))
        assert batch.names == sum((share[step].names for share in shares), ())


def test_resume_within_an_epoch():
    (resumed,) = _set().batches(2, first_step=1)
    assert torch.equal(resumed.image, list(_set().batches(2))[1].image)


@pytest.mark.parametrize("changes", [{}, CHANGES])
def test_threads_do_not_change_samples(changes):
    one, four = (next(_set(**changes).batches(0, threads=n)) for n in (1, 4))
    assert torch.equal(one.image, four.image)
    assert torch.equal(one.label, four.label)


def test_smaller_cases_and_both_their_labels_are_padded():
    (case,) = _cases(1)
    samples = _set([case], augmentation=None, patch_size=(8, 10, 8), modality_dropout=0.9)
    drawn = {_missing(sample): sample for sample in (samples.sample(0, 0, n) for n in range(40))}
    assert torch.equal(drawn[False, False].image[:, :, 9], case.image[:, :, 7])
    labels = {(False, False): case.label, (False, True): case.label, (True, False): case.mr_label}
    assert all(torch.equal(drawn[key].label[:, 1:9], label) for key, label in labels.items())


def test_no_cases():
    with pytest.raises(ValueError, match="at least one case"):
        TrainingSet([], **OPTIONS)


def test_sample_is_patch_and_augmentation_by_its_seed():
    (case,) = _cases(1, size=13)
    random = np.random.RandomState(sample_seed(3, 2, 5))
    region = draw_region(case.label, (8, 8, 8), random)
    image = case.image[(slice(None), *region)]
    expected = Augmenter(AUGMENTATION)(image, case.label[region], (8, 8, 8), random)
    sample = _set([case]).sample(0, 2, 5)
    assert torch.equal(sample.image, expected[0])
    assert torch.equal(sample.label, expected[1])


def test_samples_lose_either_modality_or_none():
    found = _losses(*_cases(1, size=4), 0.5, 800)
    assert set(found) == {(False, False), (True, False), (False, True)}
    # Four standard deviations of a binomial count.
    assert found[False, False] == pytest.approx(400, abs=57)
    assert found[True, False] == pytest.approx(200, abs=49)
    assert found[False, True] == pytest.approx(200, abs=49)


def test_modality_dropout_changes_nothing_else():
    (case,) = _cases(1, size=13)
    changed, whole = _set([case], modality_dropout=0.7), _set([case])
    of_the_mr = _set([replace(case, label=case.mr_label)])
    seen = set()
    for position in range(20):
        sample = changed.sample(0, 1, position)
        seen.add(kind := _missing(sample))
        expected = (of_the_mr if kind[0] else whole).sample(0, 1, position)
        assert torch.equal(sample.label, expected.label)
        for channel, missing in enumerate(kind):
            image = sample.image[channel]
            assert torch.equal(image, torch.full_like(image, MISSING) if missing else expected.image[channel])
    assert len(seen) == 3


def test_without_a_label_of_its_mr_a_case_never_loses_its_ct():
    found = _losses(replace(_cases(1, size=4)[0], mr_label=None), 0.5, 400)
    assert set(found) == {(False, False), (False, True)}
    assert found[False, True] == pytest.approx(100, abs=35)


def test_a_single_image_is_neither_lost_nor_misregistered():
    case = [replace(_cases(1)[0], single=True)]
    changed, plain = _set(case, augmentation=_misregistered(1.0), modality_dropout=0.9), _set(case)
    for position in range(20):
        assert torch.equal(changed.sample(0, 0, position).image, plain.sample(0, 0, position).image)


def test_misregistration_needs_both_images():
    (case,) = _cases(1, size=13)
    moved, still = (_set([case], augmentation=_misregistered(p), modality_dropout=0.6) for p in (1.0, 0.0))
    seen = set()
    for position in range(20):
        sample, expected = (samples.sample(0, 1, position) for samples in (moved, still))
        seen.add(kind := _missing(expected))
        assert torch.equal(sample.label, expected.label)
        assert torch.equal(sample.image[0], expected.image[0])
        assert torch.equal(sample.image[1], expected.image[1]) == any(kind)
    assert len(seen) == 3


def _draw(label, size, seed=0, share=0.0, context=1.0):
    random = np.random.RandomState(seed)
    return draw_region(label, size, random, foreground_share=share, context=context)


def test_regions_lie_inside_and_reach_every_corner():
    label = torch.zeros(9, 12, 7)
    starts = np.array([[s.start for s in _draw(label, (4, 5, 7), seed)] for seed in range(300)])
    assert starts.min(0).tolist() == [0, 0, 0]
    assert starts.max(0).tolist() == [5, 7, 0]


def test_foreground_regions_hold_the_structure():
    label = torch.zeros(20, 20, 20, dtype=torch.uint8)
    label[17, 2, 11] = 3
    for seed in range(20):
        assert label[_draw(label, (4, 5, 6), seed, share=1.0)].any()


def test_structures_are_drawn_equally_often_whatever_their_size():
    label = torch.zeros(8, 8, 60, dtype=torch.uint8)
    label[..., :20] = 1
    label[0, 0, 59] = 2
    hits = sum(bool((label[_draw(label, (8, 8, 8), seed, share=1.0)] == 2).any()) for seed in range(200))
    assert 70 < hits < 130


@pytest.mark.parametrize(("n", "patch", "size"), [(48, 48, 48), (60, 32, 40), (33, 32, 32), (35, 32, 34)])
def test_context_is_even_and_fits(n, patch, size):
    region = _draw(torch.zeros(n, n, n), (patch,) * 3, context=1.25)
    assert [s.stop - s.start for s in region] == [size] * 3


def _misregistrations(probability):
    config, random = AugmentationConfig(misregistration_probability=probability), np.random.RandomState(0)
    return [drawn for _ in range(900) if (drawn := draw_misregistration(config, random)) is not None]


@pytest.mark.parametrize(("probability", "expected", "abs_"), [(0.0, 0, 0), (0.3, 270, 55), (1.0, 900, 0)])
def test_misregistration_frequency(probability, expected, abs_):
    assert len(_misregistrations(probability)) == pytest.approx(expected, abs=abs_)


def test_shift_and_angle_are_uniform():
    drawn = _misregistrations(1.0)
    for name, largest in (("shift_voxels", 4.0), ("rotation_degrees", 10.0)):
        lengths = np.linalg.norm([getattr(d, name) for d in drawn], axis=1) / largest
        assert lengths.max() <= 1
        # Quartiles of 900 uniform numbers have a standard deviation below 0.017.
        np.testing.assert_allclose(np.quantile(lengths, (0.25, 0.5, 0.75)), (0.25, 0.5, 0.75), atol=0.07)
