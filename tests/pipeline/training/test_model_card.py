import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from crossmodalnet.errors import DataError
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from pipeline.training.checkpoint import load_model, save_model
from pipeline.training.cohort import read_cohort
from pipeline.training.params import read_params
from pipeline.training.train_model import make_card
from pipeline.training.trainer import TrainingState


@pytest.fixture
def card(set_params):
    params = read_params("crossmodalnet")
    return make_card(params, 0, read_cohort(params.intensity), TrainingState(best_dice=0.5, best_epoch=2))


@pytest.fixture
def model(cohort, card):
    """A model folder with random weights."""
    torch.manual_seed(0)
    network = card.build()
    save_model(cohort / "models/crossmodalnet/seed0", card, network.state_dict(), network.state_dict())
    return cohort / "models/crossmodalnet/seed0"


def test_a_model_comes_back_from_its_folder(model, card):
    loaded = load_model(model)
    assert loaded.card == card
    assert not loaded.network.training
    torch.manual_seed(0)
    for name, tensor in card.build().state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)


def test_card_records_the_training(card):
    assert card.training_pairs == ("a", "b", "c")
    assert card.validation_pairs == ("d",)
    assert card.origin == "phantom (synthetic), 3 training cases"
    assert card.spacing_mm == (3.0, 3.0, 3.0)
    assert card.size == card.patch_size == (16, 16, 16)
    assert card.labels[0].model_dump() == {"index": 1, "abbreviation": "LV", "code": 500}
    assert set(card.versions) == {"crossmodalnet", "monai", "torch"}
    assert set(card.network) == {*CrossModalNetConfig().options(), "deep_supervision", "checkpointing"}
    assert not {"devices", "num_threads"} & set(card.train)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"source": "table", "path": "/home/me/ward 5/hearts.csv"}, "table: hearts.csv"),
        ({"source": "mmwhs", "path": ["a/ct.zip", "b/mr.zip"]}, "mmwhs: ct.zip, mr.zip"),
        ({"source": "mmwhs", "urls": [{"url": "https://x.org/whs.zip", "sha256": 64 * "0"}]}, "mmwhs: whs.zip"),
    ],
)
def test_card_names_the_cohort_without_its_folder(data, name, cohort, set_params):
    with (cohort / "params.yaml").open("a") as params:
        params.write(json.dumps({"data": data})[1:-1].replace('"data": ', "data: ") + "\n")
    assert read_params("crossmodalnet").cohort == name


def test_the_same_model_is_the_same_bytes(model, card):
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    weights = load_file(model / "weights.safetensors")
    save_model(model, card, dict(reversed(weights.items())), weights)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert set(before) == {"card.json", "last.safetensors", "weights.safetensors"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(builder="no_such_network"), r"describes no network of this version.*'no_such_network'"),
        (lambda c: c.update(labels=[]), "its classes differ"),
        (lambda c: c.update(colour=1), "is not a model card"),
        (lambda c: c.update(patch_size=[16, 16, 24]), r"does not fit the network.* is \("),
        (lambda c: c["network"].pop("values"), r"no network of this version: options of crossmodalnet: values m"),
    ],
)
def test_cards_that_do_not_fit(model, change, message):
    card = json.loads((model / "card.json").read_text("utf-8"))
    change(card)
    (model / "card.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match=message):
        load_model(model)


def test_files_that_are_missing_or_damaged(model):
    path = model / "weights.safetensors"
    weights = load_file(path)
    save_file({name: tensor for name, tensor in weights.items() if "head" not in name}, path)
    with pytest.raises(DataError, match=r"head\S* is missing"):
        load_model(model)
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="is damaged"):
        load_model(model)
    path.unlink()
    with pytest.raises(DataError, match=r"not found: run `dvc repro train@crossmodalnet-0`"):
        load_model(model)
    with pytest.raises(DataError, match=r"card\.json not found"):
        load_model(model.parent / "other")
