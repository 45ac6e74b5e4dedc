"""The examples in the docstrings of the public names."""

import doctest
import re
from importlib import import_module

import pytest

import crossmodalnet

MODULES = ["crossmodalnet", *sorted(set(crossmodalnet._MODULES.values()))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str) -> None:
    result = doctest.testmod(import_module(name))
    assert result.attempted
    assert not result.failed


def test_every_public_name_is_in_an_example() -> None:
    tests = [test for name in MODULES for test in doctest.DocTestFinder().find(import_module(name))]
    used = set(re.findall(r"\w+", " ".join(example.source for test in tests for example in test.examples)))
    assert set(crossmodalnet.__all__) <= used
