"""The examples in the docstrings of the public names."""

import doctest
from importlib import import_module

import pytest

import crossmodalnet


@pytest.mark.parametrize("name", ["crossmodalnet", *sorted(set(crossmodalnet._modules().values()))])
def test_examples(name: str) -> None:
    result = doctest.testmod(import_module(name))
    assert result.attempted
    assert not result.failed
