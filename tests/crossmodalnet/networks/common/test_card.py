"""Models from outside: what is on the card is compared with the file of weights before any memory is taken."""

import json
import resource
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.common.card import (
    BEST,
    CARD,
    ModelCard,
    TooLargeError,
    label_entries,
    load_model,
    misfits,
    shapes_built,
    shapes_in,
)
from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from pipeline.config.network import NETWORKS
from tests.crossmodalnet.networks.conftest import BASELINES, options_of

OWN = ModelCard(
    name="crossmodalnet", builder="crossmodalnet", seed=0, patch_size=(16, 16, 16),
    network=BuildConfig(channels=12, heads=(2, 2), deep_supervision=True).options(),
    spacing_mm=(3.0, 3.0, 3.0), size=(16, 16, 16), ct_window_hu=(-200.0, 600.0), mr_percentiles=(0.5, 99.5),
    labels=label_entries(), num_classes=8, train={}, losses={}, augment={}, versions={}, data_fingerprint="",
    training_pairs=(), validation_pairs=(), best_epoch=1, validation_dice=0.5, adaptation=None,
)  # fmt: skip


def save_weights(network: nn.Module, file: Path) -> None:
    save_file({n: t.clone().contiguous() for n, t in network.state_dict().items()}, file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights."""
    folder = tmp_path_factory.mktemp("model")
    save_weights(OWN.build(), folder / BEST)
    (folder / CARD).write_text(OWN.model_dump_json(), "utf-8")
    return folder


def other_card(trained: Path, folder: Path, text: str = "", **changes: Any) -> Path:
    """The weights, and a card that says otherwise; `text` stands in place of the string BIG."""
    card = json.loads((trained / CARD).read_text("utf-8"))
    card["network"].update(changes.pop("network", {}))
    (folder / CARD).write_text(json.dumps({**card, **changes}).replace('"BIG"', text), "utf-8")
    (folder / BEST).symlink_to(trained / BEST)
    return folder


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_what_fits_is_loaded_and_draws_nothing_more_than_one_network(trained: Path) -> None:
    torch.manual_seed(5)
    OWN.build()
    after = torch.get_rng_state()
    torch.manual_seed(5)
    loaded = load_model(trained)
    assert torch.equal(torch.get_rng_state(), after)
    assert not any(tensor.is_cuda for tensor in loaded.network.state_dict().values())
    torch.testing.assert_close(dict(loaded.network.state_dict()), load_file(trained / BEST), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "text", "says"),
    [
        ({"network": {"channels": 10**6}}, "", "number above 4096"),
        ({"network": {"depths": [10**5, 10**5]}}, "", "number above 4096"),
        ({"network": {"channels": "BIG"}}, "NaN", "number above 4096"),
        ({"network": {"channels": "BIG"}}, "Infinity", "number above 4096"),
        ({"network": {"channels": "BIG"}}, "9" * 5000, r"number above 4096|is not a model card"),
        ({"network": {"depths": [1] * 10**5, "heads": [1] * 10**5}}, "", "more than 256 numbers"),
        ({"patch_size": [10**4] * 3}, "", "patch_size.0: Input should be less than or equal to 1024"),
        ({"patch_size": [1024] * 3}, "", "patch_size: must have at most 134217728 voxels"),
        ({"size": [1024] * 3}, "", " size: must have at most"),
        ({"network": {"channels": 4092}}, "", "more than 8 times its weights"),
        ({"network": {"depths": [4096, 4096]}}, "", "more than 8 times its weights"),
        ({"network": {"depths": [1] * 100, "heads": [1] * 100, "num_points": [1] * 100}}, "", "no network of this"),
        ({"network": {"mlp_ratio": 4096.0}}, "", "more than 8 times its weights"),
        ({"network": {"head_channels": 4096}}, "", "more than 8 times its weights"),
        ({"network": {"stem_channels": [4096, 4096]}}, "", "more than 8 times its weights"),
        ({"network": {"channels": 18}}, "", r"weights\.safetensors does not fit.* is \("),
        ({"network": {"channels": -12}}, "", "no network of this version"),
        ({"network": {"channels": "12"}}, "", "no network of this version"),
        ({"network": {"channels": 12.5}}, "", "no network of this version"),
        ({"network": {"channels": None}}, "", "no network of this version"),
        ({"network": {"heads": [0, 0]}}, "", "no network of this version"),
        ({"network": {"depths": [], "heads": [], "num_points": []}}, "", "no network of this version"),
        ({"network": {"depths": 3}}, "", "no network of this version"),
        ({"network": {"streams": "four"}}, "", "no network of this version"),
        ({"network": {"patch_embedding": [0, 0, 0]}}, "", "no network of this version"),
        ({"network": {"num_points": [4096, 4096]}, "patch_size": [512] * 3}, "", "more than 8 times its weights"),
        ({"network": {"window": [4096] * 3}, "patch_size": [512] * 3}, "", "more than|has tables"),
    ],
)  # fmt: skip
def test_a_card_of_an_enormous_network_is_refused_at_once(trained, tmp_path, changes, text, says):
    folder = other_card(trained, tmp_path, text, **changes)
    before = peak_mb()
    with pytest.raises(ValueError, match=says) as refused:
        load_model(folder)
    assert peak_mb() - before < 300  # a model that is built by mistake would take a hundred times as much
    assert str(folder) in str(refused.value)


def test_a_file_that_claims_more_than_it_holds_is_damaged(trained: Path, tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}})
    folder = other_card(trained, tmp_path)
    (folder / BEST).unlink()
    (folder / BEST).write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(64))
    with pytest.raises(ValueError, match=r"weights\.safetensors is damaged"):
        load_model(folder)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_on_the_meta_device_the_shapes_that_it_has(name: str, tmp_path: Path) -> None:
    def build() -> nn.Module:
        return build_network(name, options_of(name), patch_size=(32, 32, 32))

    save_weights(build(), tmp_path / BEST)
    found = shapes_in(tmp_path / BEST)
    assert shapes_built(build, found) == found
    # A sixteenth of the weights is too few, even for a network that drops most of what it makes.
    few = dict(list(found.items())[: len(found) // 16])
    with pytest.raises(TooLargeError, match=f"in {len(few)} tensors"):
        shapes_built(build, few)
    nn.Linear(1000, 1000, device="meta")  # nothing is counted any more


@pytest.mark.parametrize(
    ("name", "size"), [(n, size) for n in BASELINES for size in get_args(NETWORKS[n].model_fields["size"].annotation)]
)
def test_networks_of_every_size_stay_within_the_bounds_of_their_own_weights(name: str, size: str) -> None:
    def build() -> nn.Module:
        return build_network(name, options_of(name, size=size), patch_size=(32, 32, 32))

    shapes = shapes_built(build, {str(n): (10**8,) for n in range(10**4)})
    assert shapes_built(build, shapes) == shapes


def test_a_network_on_another_device_is_not_counted() -> None:
    def build() -> nn.Module:
        with torch.device("cpu"):
            nn.Linear(100, 100)
        return nn.Linear(2, 2)

    assert shapes_built(build, {"weight": (2, 2), "bias": (2,)}) == {"weight": (2, 2), "bias": (2,)}


def test_tables_are_bounded_too() -> None:
    def build() -> nn.Module:
        module = nn.Linear(2, 2)
        module.register_buffer("table", torch.zeros(2**14, 2**14), persistent=False)
        return module

    with pytest.raises(TooLargeError, match="has tables of more than"):
        shapes_built(build, {"weight": (2, 2), "bias": (2,)})


def test_misfits_are_named() -> None:
    found = misfits({"a": (2,), "b": (3,)}, {"a": (1,), "c": (4,)})
    assert found == ["a is (1,), not (2,)", "b is missing", "c is unknown"]


def test_a_card_lists_the_structures_that_its_cohort_delineates() -> None:
    card = json.loads(OWN.model_dump_json())
    for missing, is_valid in ((("AO", "PA"), True), (tuple(e.abbreviation for e in OWN.labels), False)):
        labels = [entry.model_dump() for entry in label_entries(missing)]
        if is_valid:
            assert len(ModelCard.model_validate({**card, "labels": labels}).labels) == 5
        else:
            with pytest.raises(ValueError, match="its classes differ"):
                ModelCard.model_validate({**card, "labels": labels})
