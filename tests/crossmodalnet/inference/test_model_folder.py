import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from crossmodalnet.inference import model_folder as module
from crossmodalnet.inference.model_folder import MAX_MODEL_BYTES, InferenceConfig, model_folder, pack_model
from crossmodalnet.inference.quality_flags import Likeness, TrainingLikeness
from crossmodalnet.registration.config import RegistrationConfig

CONTENT = {name: f"content of {name}".encode() for name in MAX_MODEL_BYTES}
CONFIG = InferenceConfig(
    registration=RegistrationConfig(method="balanced", iterations=[40, 30], min_gain=0.01, seed=3), size=(40, 44, 48),
    spacing_mm=3.5, margin_mm=5.0, atlas_spacing_mm=5.0, heart_likeness=0.43, overlap=0.5, keep_largest_component=True,
    mr_likeness=TrainingLikeness(Likeness(0.8, 0.4), Likeness(0.2, 0.1)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "is of version 3, this crossmodalnet reads version 4: export the model again"),
        ({"version": None}, "is of version None"),
        ({"size": [40, 44, 4000]}, "size.2: Input should be less than or equal to 1024"),
        ({"size": [1024, 1024, 1024]}, "size must have at most 134217728 voxels"),
        ({"overlap": 1.0}, "overlap: Input should be less than or equal to 0.95"),
        ({"atlas_spacing_mm": 1e-9}, "atlas_spacing_mm: Input should be greater than or equal to 0.5"),
        ({"registration": {"method": "x"}}, "registration.method: "),
        ({"mr_likeness": [[0.8, 0.1], [0.2, 0.1]]}, "mr_likeness must be higher in pairs than by chance"),
        ({"mr_likeness": [[float("nan"), 0.4], [0.2, 0.1]]}, "Input should be a finite number"),
    ],
)
def test_impossible_inference_config(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({**CONFIG.model_dump(mode="json"), **change}), "utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        module.read_inference_config(tmp_path)
    assert str(raised.value).startswith(str(tmp_path / "recipe.json"))
    assert "\n" not in str(raised.value)


def test_inference_config_round_trip(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(CONFIG.model_dump_json(), "utf-8")
    assert module.read_inference_config(tmp_path) == CONFIG


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_damaged_or_missing_inference_config(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileNotFoundError):
        module.read_inference_config(tmp_path)
    (tmp_path / "recipe.json").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"recipe\.json is"):
        module.read_inference_config(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    for name, content in CONTENT.items():
        (tmp_path / "model" / name).write_bytes(content)
    (tmp_path / "model/notes.txt").write_text("private", "utf-8")
    return tmp_path / "model"


def test_packed_model_round_trip_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    pack_model(folder, tmp_path / "m.zip")
    with model_folder(tmp_path / "m.zip") as unpacked:
        assert {path.name: path.read_bytes() for path in unpacked.iterdir()} == CONTENT
    assert not unpacked.exists()
    with model_folder(folder) as same:
        assert same == folder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.zip", "model"]


def test_packing_is_reproducible(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        pack_model(folder, tmp_path / name)
        (folder / "card.json").touch()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_atlases_are_optional_and_weights_are_not(folder: Path, tmp_path: Path) -> None:
    (folder / "atlases.safetensors").unlink()
    pack_model(folder, tmp_path / "m.zip")
    with model_folder(tmp_path / "m.zip") as unpacked:
        assert not (unpacked / "atlases.safetensors").exists()
    (folder / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        pack_model(folder, tmp_path / "m.zip")


def test_pack_replaces_only_a_packed_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.zip").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        pack_model(folder, tmp_path / "thesis.zip")
    assert (tmp_path / "thesis.zip").read_bytes() == b"mine"
    pack_model(folder, tmp_path / "m.zip")
    pack_model(folder, tmp_path / "m.zip")


def write(file: Path, *more: str, without: str = "", compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in [*(name for name in CONTENT if name != without), *more]:
            archive.writestr(name, CONTENT.get(name, b"x"))
    return file


def refused(model: Path, says: str) -> None:
    with pytest.raises(ValueError, match=says), model_folder(model):
        pass


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "sub/card.json", "code.pkl"])
def test_archives_with_other_names_are_rejected(tmp_path: Path, name: str) -> None:
    refused(write(tmp_path / "m.zip", name), f"it holds '{name}'")
    assert [path.name for path in tmp_path.rglob("*")] == ["m.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_are_no_packed_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(write(tmp_path / "a", without="card.json"), "it lacks card.json")
    refused(write(tmp_path / "b", "card.json"), "holds a file twice")
    refused(write(tmp_path / "c", compression=zipfile.ZIP_DEFLATED), "card.json is compressed")
    (tmp_path / "d").write_bytes(write(tmp_path / "a").read_bytes().replace(b"content of c", b"content of d"))
    refused(tmp_path / "d", "damaged .*CRC")
    (tmp_path / "e").write_bytes((tmp_path / "a").read_bytes()[:-30])
    refused(tmp_path / "e", "is no packed model, or is damaged")
    (tmp_path / "f").write_text("text", "utf-8")
    refused(tmp_path / "f", "is no packed model, or is damaged")
    refused((tmp_path / "f").rename(tmp_path / "card.json"), "is a file of a model: give its folder")
    monkeypatch.setitem(MAX_MODEL_BYTES, "card.json", 5)
    refused(tmp_path / "a", "card.json has 20 bytes")


def test_a_link_in_an_archive_is_unpacked_as_a_file(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("card.json")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    write(tmp_path / "m.zip", without="card.json")
    with zipfile.ZipFile(tmp_path / "m.zip", "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    with model_folder(tmp_path / "m.zip") as unpacked:
        assert not (unpacked / "card.json").is_symlink()
        assert (unpacked / "card.json").read_text("utf-8") == "/etc/passwd"


def test_oversized_files_are_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAX_MODEL_BYTES, "card.json", 5)
    refused(folder, r"card\.json has 20 bytes, more than the limit of 5")


@pytest.mark.parametrize("name", MAX_MODEL_BYTES)
def test_pipes_are_rejected(folder: Path, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "pipe is neither a model folder nor a packed model")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, f"{name} is no regular file")
    with pytest.raises(ValueError, match=f"{name} is no regular file"):
        pack_model(folder, tmp_path / "m.zip")


def test_errors_name_the_packed_file(folder: Path, tmp_path: Path) -> None:
    pack_model(folder, tmp_path / "m.zip")
    says = r"^\S*m\.zip/card\.json is odd$"
    with pytest.raises(ValueError, match=says), model_folder(tmp_path / "m.zip") as unpacked:
        raise ValueError(f"{unpacked / 'card.json'} is odd")
