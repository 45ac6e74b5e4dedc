from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from crossmodalnet.imaging.samples import is_missing
from crossmodalnet.training.dataset import TrainingSet
from pipeline.training.params import read_params, with_adaptation
from pipeline.training.train_model import find_work, train_model
from tests.pipeline.conftest import ALONE

ON = {"enabled": True, "start": 0.0, "every": 1}


@pytest.fixture
def missing(monkeypatch):
    """Train, and give which modalities the samples lack that the training draws."""
    samples, sample = [], TrainingSet.sample

    def collecting(self, index, epoch, position):
        samples.append(sample(self, index, epoch, position))
        return samples[-1]

    def train(params):
        train_model(params, 0, ALONE)
        return {tuple(row) for row in is_missing(torch.stack([s.image for s in samples])).tolist()}

    monkeypatch.setattr(TrainingSet, "sample", collecting)
    return train


def test_samples_of_a_training_lose_modalities(set_params, missing):
    set_params(modality_dropout=0.8, samples_per_case=4, epochs=1)
    assert missing(read_params("crossmodalnet")) == {(False, False), (True, False), (False, True)}


@pytest.mark.parametrize("variant", [None, "source_only"])
def test_an_adaptation_sees_whole_pairs_of_both_domains_and_its_card_says_so(target, set_params, missing, variant):
    set_params(modality_dropout=0.9, epochs=1, adapt=ON)
    params = with_adaptation(read_params("crossmodalnet"), variant)
    assert params.training["modality_dropout"] == 0.0
    assert missing(params) == {(False, False)}


@pytest.mark.parametrize(("ablation", "expected"), [(None, 0.5), ("no_cross", 0.5), ("ct_only", 0.0), ("mr_only", 0.0)])
def test_one_stream_loses_no_modality_and_has_image_and_label_left_together(set_params, ablation, expected):
    augment = {"misregistration_probability": 0.5, "misregistration_voxels": 1.5}
    set_params(modality_dropout=0.5, augment=augment)
    assert read_params("mednext").modality_dropout == 0.5
    params = read_params("crossmodalnet", ablation)
    assert params.modality_dropout == params.training["modality_dropout"] == expected
    settings = params.augmentation
    assert (settings.misregistration_probability, settings.misregistration_voxels) == (expected, 1.5)
    aligned = replace(params, network=params.network.model_copy(update={"align": True}))
    assert aligned.augmentation.misregistration_probability == 0.0


@pytest.mark.parametrize(
    ("section", "changes", "is_same"),
    [
        ("network", {"streams": "ct"}, False),
        ("losses", {"alpha": 0.123}, False),
        ("augment", {"enabled": False}, False),
        ("train", {"lr": 0.123}, False),
        ("train", {"modality_dropout": 0.5}, False),
        ("train", {"ema_decay": 0.5}, False),
        ("train", {"devices": 2, "num_threads": 3}, True),
    ],
)
def test_a_checkpoint_is_found_by_all_that_the_result_depends_on(set_params, section, changes, is_same):
    params, cohort = read_params("crossmodalnet"), SimpleNamespace(fingerprint="the same data")
    changed = getattr(params, section).model_copy(update=changes)
    assert getattr(params, section) != changed
    work = find_work(params, cohort, 0)
    assert (find_work(replace(params, **{section: changed}), cohort, 0) == work) is is_same
    assert find_work(params, cohort, 1) != work
