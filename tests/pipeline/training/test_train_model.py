"""Which changes of pairs a training makes, where it leaves pairs as they are, and what it tells of itself."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from crossmodalnet.imaging.samples import is_missing
from crossmodalnet.training.dataset import TrainingSet
from pipeline.config.sections import EXECUTION
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


OTHER = {bool: lambda value: not value, int: lambda value: value + 1, float: lambda value: value / 2 + 0.01}
OTHER_WORDS = {
    "streams": "ct", "values": "a", "similarity": "cosine", "refines": "queries", "residual": "standard",
    "offsets": "predicted", "position": "none", "stem": "linear", "transitions": "linear", "budget": "seconds",
    "schedule": "constant", "mixed_precision": "off", "window": (2, 2, 2), "cross_window": ((2, 2, 2), None),
    "grad_clip": 0.5, "devices": 2, "objectives": ["ce"], "balancing": "uniform", "lr": 0.123,
}  # fmt: skip


def _other(name: str, value: Any) -> Any:
    if name in OTHER_WORDS:
        assert value != OTHER_WORDS[name]
        return OTHER_WORDS[name]
    if isinstance(value, tuple):
        return tuple(_other(name, entry) for entry in value)
    return OTHER[type(value)](value)


def test_no_checkpoint_is_found_by_other_parameters(set_params):
    set_params()
    params = read_params("crossmodalnet")
    cohort = SimpleNamespace(fingerprint="the same data")
    found = find_work(params, cohort, 0)
    assert find_work(read_params("crossmodalnet"), cohort, 0) == found
    same = set()
    for section in ("network", "losses", "augment", "train"):
        values = getattr(params, section)
        for name, value in values:
            changed = values.model_copy(update={name: _other(name, value)})
            if find_work(replace(params, **{section: changed}), cohort, 0) == found:
                same.add((section, name))
    # The network's own rate is what `read_params` puts in place of that of the section `train`.
    assert same == {("network", "lr"), *(("train", name) for name in EXECUTION)}
