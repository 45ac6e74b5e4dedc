"""The examples in the docstrings of the public names."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import crossmodalnet
from tests.crossmodalnet.test_cli import ct, model  # noqa: F401


@pytest.fixture
def files(model: Path, ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """An exported model and a CT where the examples read them."""
    (tmp_path / "exported/crossmodalnet").mkdir(parents=True)
    (tmp_path / "exported/crossmodalnet/seed0").symlink_to(model)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", ["crossmodalnet", *sorted(set(crossmodalnet._modules().values()))])
def test_examples(name: str) -> None:
    result = doctest.testmod(import_module(name))
    assert result.attempted
    assert not result.failed
