"""Changes of pairs in a training, and the folder of its checkpoint."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from crossmodalnet.imaging.samples import is_missing
from crossmodalnet.training.dataset import TrainingSet
from pipeline.training.params import read_params, with_adaptation
from pipeline.training.processes import Processes
from pipeline.training.train_model import find_work, train_model

ON = {"enabled": True, "start": 0.0, "every": 1}


@pytest.fixture
def drawn(monkeypatch):
    """Collect the samples that trainings draw."""
    samples, sample = [], TrainingSet.sample

    def collecting(self, index, epoch, position):
        samples.append(sample(self, index, epoch, position))
        return samples[-1]

    monkeypatch.setattr(TrainingSet, "sample", collecting)
    return samples


def _missing(samples):
    return {tuple(row) for row in is_missing(torch.stack([s.image for s in samples])).tolist()}


def _train(params):
    train_model(params, 0, Processes(0, 1, 1, torch.device("cpu")))


def test_samples_of_a_training_lose_modalities(set_params, drawn):
    set_params(modality_dropout=0.8, samples_per_case=4, epochs=1)
    _train(read_params("crossmodalnet"))
    assert _missing(drawn) == {(False, False), (True, False), (False, True)}


@pytest.mark.parametrize("variant", [None, "source_only"])
def test_an_adaptation_sees_whole_pairs_of_both_domains(target, set_params, drawn, variant):
    set_params(modality_dropout=0.9, epochs=1, adapt=ON)
    _train(with_adaptation(read_params("crossmodalnet"), variant))
    assert _missing(drawn) == {(False, False)}


@pytest.mark.parametrize(("ablation", "expected"), [("no_cross", 0.5), ("ct_only", 0.0), ("mr_only", 0.0)])
def test_a_network_of_one_stream_loses_nothing(set_params, ablation, expected):
    set_params(modality_dropout=0.5)
    assert read_params("crossmodalnet", ablation).modality_dropout == expected


def test_other_networks_lose_modalities_too(set_params):
    set_params(modality_dropout=0.5)
    assert read_params("mednext").modality_dropout == 0.5


@pytest.mark.parametrize(("ablation", "expected"), [(None, 0.4), ("ct_only", 0.0), ("mr_only", 0.0)])
def test_a_network_of_one_stream_has_image_and_label_left_together(set_params, ablation, expected):
    set_params(augment={"misregistration_probability": 0.4, "misregistration_voxels": 1.5})
    settings = read_params("crossmodalnet", ablation).augmentation
    assert settings is not None
    assert (settings.misregistration_probability, settings.misregistration_voxels) == (expected, 1.5)


@pytest.mark.parametrize("ablation", ["ct_only", "mr_only"])
def test_the_card_says_which_modalities_a_network_has_lost(set_params, ablation):
    set_params(modality_dropout=0.5)
    assert read_params("crossmodalnet").training["modality_dropout"] == 0.5
    assert read_params("crossmodalnet", ablation).training["modality_dropout"] == 0.0


@pytest.mark.parametrize("variant", [None, "source_only"])
def test_the_card_of_an_adaptation_says_that_no_modality_was_lost(target, set_params, variant):
    set_params(modality_dropout=0.9, adapt=ON)
    assert with_adaptation(read_params("crossmodalnet"), variant).training["modality_dropout"] == 0.0


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
    set_params()
    params, cohort = read_params("crossmodalnet"), SimpleNamespace(fingerprint="the same data")
    changed = getattr(params, section).model_copy(update=changes)
    assert getattr(params, section) != changed
    work = find_work(params, cohort, 0)
    assert (find_work(replace(params, **{section: changed}), cohort, 0) == work) is is_same
    assert find_work(params, cohort, 1) != work
