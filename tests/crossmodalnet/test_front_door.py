"""The public names of the library, which are imported on their first use."""

import subprocess
import sys
from importlib import import_module

import pytest

import crossmodalnet
from pipeline.runtime.paths import TOP


@pytest.mark.parametrize("name", crossmodalnet.__all__)
def test_public_names_are_those_of_their_modules(name: str) -> None:
    place = import_module(crossmodalnet._modules()[name])
    assert getattr(crossmodalnet, name) is getattr(place, name)
    assert name in dir(crossmodalnet)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'unet'"):
        crossmodalnet.unet  # noqa: B018


def test_import_does_not_import_torch() -> None:
    code = "import sys, crossmodalnet; crossmodalnet.CrossModalNetConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=TOP, check=False).returncode == 0
