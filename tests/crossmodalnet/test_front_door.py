"""The public names of the library: lazy, whole, and for users alone."""

import ast
import subprocess
import sys
from importlib import import_module

import pytest

import crossmodalnet
from pipeline.runtime.paths import TOP

# The defaults of options: what a stage depends on is the values, and these stand in params.yaml.
MAY_USE_THE_FRONT_DOOR = {
    "pipeline/config/sections.py",
    "pipeline/config/network.py",
}


@pytest.mark.parametrize("name", crossmodalnet.__all__)
def test_every_name_is_that_of_its_module(name: str) -> None:
    place = import_module(crossmodalnet._MODULES[name])
    assert getattr(crossmodalnet, name) is getattr(place, name)
    assert name in dir(crossmodalnet)


def test_names_places_and_types_are_the_same() -> None:
    tree = ast.parse((TOP / "crossmodalnet/__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == crossmodalnet._MODULES
    assert set(typed) == set(crossmodalnet.__all__)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'unet'"):
        crossmodalnet.unet  # noqa: B018


def test_the_package_and_its_options_are_free_of_torch() -> None:
    code = "import sys, crossmodalnet; crossmodalnet.CrossModalNetConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=TOP, check=False).returncode == 0


def test_no_stage_hides_what_it_depends_on_behind_the_front_door() -> None:
    files = [
        file for package in ("crossmodalnet", "pipeline", "stages") for file in (TOP / package).rglob("*.py")
    ]
    users = {
        str(file.relative_to(TOP))
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if (isinstance(node, ast.ImportFrom) and node.module == "crossmodalnet" and node.level == 0)
        or (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) == "crossmodalnet"
            and node.attr in crossmodalnet.__all__
        )
    }
    assert users == MAY_USE_THE_FRONT_DOOR
