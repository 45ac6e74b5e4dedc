"""Which changes of pairs a training makes, and where it leaves pairs as they are."""

import pytest
import torch

from crossmodalnet.data.dataset import TrainingSet
from crossmodalnet.imaging.missing import is_missing
from pipeline.learning.model_params import read_params
from pipeline.models.distributed import Processes
from pipeline.training.adapted_params import with_adaptation
from pipeline.training.train_model import train_model

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
    set_params(augment={"displacement_probability": 0.4, "displacement_voxels": 1.5})
    settings = read_params("crossmodalnet", ablation).augmentation
    assert settings is not None
    assert (settings.displacement_probability, settings.displacement_voxels) == (expected, 1.5)
