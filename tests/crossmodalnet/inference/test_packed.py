"""A model as one file, and files that pretend to be one."""

import os
import stat
import zipfile
from pathlib import Path

import pytest

import crossmodalnet.inference.model_folder as module
from crossmodalnet.inference.model_folder import MAX_MODEL_BYTES, model_folder, pack_model

CONTENT = {name: f"content of {name}".encode() for name in MAX_MODEL_BYTES}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    for name, content in CONTENT.items():
        (tmp_path / "model" / name).write_bytes(content)
    (tmp_path / "model/notes.txt").write_text("private", "utf-8")
    return tmp_path / "model"


def test_a_packed_model_unpacks_to_its_own_files_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    pack_model(folder, tmp_path / "m.zip")
    with model_folder(tmp_path / "m.zip") as unpacked:
        assert {path.name: path.read_bytes() for path in unpacked.iterdir()} == CONTENT
    assert not unpacked.exists()
    with model_folder(folder) as same:
        assert same == folder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.zip", "model"]


def test_the_same_folder_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        pack_model(folder, tmp_path / name)
        (folder / "card.json").touch()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_atlases_may_be_missing_and_weights_may_not(folder: Path, tmp_path: Path) -> None:
    (folder / "atlases.safetensors").unlink()
    pack_model(folder, tmp_path / "m.zip")
    with model_folder(tmp_path / "m.zip") as unpacked:
        assert not (unpacked / "atlases.safetensors").exists()
    (folder / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        pack_model(folder, tmp_path / "m.zip")


def test_only_a_packed_model_is_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.zip").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        pack_model(folder, tmp_path / "thesis.zip")
    assert (tmp_path / "thesis.zip").read_bytes() == b"mine"
    pack_model(folder, tmp_path / "m.zip")
    pack_model(folder, tmp_path / "m.zip")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"../evil": b"x"}, "it holds '../evil'"),
        ({"/etc/evil": b"x"}, "it holds '/etc/evil'"),
        ({"sub/card.json": b"x"}, "it holds 'sub/card.json'"),
        ({"code.pkl": b"x"}, "it holds 'code.pkl'"),
    ],
)
def test_other_names_are_refused_and_nothing_is_written(
    tmp_path: Path, extra: dict[str, bytes], says: str
) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for name, content in {**CONTENT, **extra}.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=says), model_folder(tmp_path / "m.zip"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["m.zip"]


def write(file: Path, *, without: str = "", twice: str = "", compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in CONTENT.items():
            if name != without:
                archive.writestr(name, content)
        if twice:
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr(twice, b"other")
    return file


def test_what_is_no_packed_model_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(file: Path, says: str) -> None:
        with pytest.raises(ValueError, match=says), model_folder(file):
            pass

    refused(write(tmp_path / "a", without="card.json"), "it lacks card.json")
    refused(write(tmp_path / "b", twice="card.json"), "holds a file twice")
    refused(write(tmp_path / "c", compression=zipfile.ZIP_DEFLATED), "card.json is compressed")
    (tmp_path / "d").write_bytes(write(tmp_path / "a").read_bytes().replace(b"content of c", b"content of d"))
    refused(tmp_path / "d", "damaged .*CRC")
    (tmp_path / "e").write_bytes((tmp_path / "a").read_bytes()[:-30])
    refused(tmp_path / "e", "is no packed model, or is damaged")
    (tmp_path / "f").write_text("text", "utf-8")
    refused(tmp_path / "f", "is no packed model, or is damaged")
    monkeypatch.setitem(module.MAX_MODEL_BYTES, "card.json", 5)
    refused(tmp_path / "a", "card.json has 20 bytes")


def test_a_link_in_an_archive_is_a_file_like_any(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("card.json")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    write(tmp_path / "m.zip", without="card.json")
    with zipfile.ZipFile(tmp_path / "m.zip", "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    with model_folder(tmp_path / "m.zip") as unpacked:
        assert not (unpacked / "card.json").is_symlink()
        assert (unpacked / "card.json").read_text("utf-8") == "/etc/passwd"


def test_a_folder_with_a_file_larger_than_any_model_s_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.MAX_MODEL_BYTES, "card.json", 5)
    with pytest.raises(ValueError, match=r"card\.json has 20 bytes, more than the 5"), model_folder(folder):
        pass


@pytest.mark.parametrize("name", MAX_MODEL_BYTES)
def test_a_pipe_is_refused_and_not_waited_for(folder: Path, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is neither a model's folder nor a packed model"):
        model_folder(tmp_path / "pipe").__enter__()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match=f"{name} is no regular file"):
        model_folder(folder).__enter__()
    with pytest.raises(ValueError, match=f"{name} is no regular file"):
        pack_model(folder, tmp_path / "m.zip")


def test_what_is_said_of_an_unpacked_file_names_the_packed_one(folder: Path, tmp_path: Path) -> None:
    pack_model(folder, tmp_path / "m.zip")
    with (
        pytest.raises(ValueError, match=r"^\S*m\.zip/card\.json is odd$"),
        model_folder(tmp_path / "m.zip") as f,
    ):
        raise ValueError(f"{f / 'card.json'} is odd")
