from typing import Any

from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update
from pydantic import Field
from ruamel.yaml import YAML

from crossmodalnet.config import Config, IntTriple
from pipeline.config.params import Params
from pipeline.config.render import keys, render
from pipeline.config.sections import CropConfig


class Inner(Config):
    lr: float = Field(1e-5, gt=0, description="step size")
    size: IntTriple = Field((1, 2, 3), description="voxels")


class Outer(Config):
    name: str | None = Field(None, description="a name")
    inner: Inner = Field(Inner(), description="the rest")


def test_what_is_written_reads_back_as_it_was() -> None:
    assert Outer.model_validate(YAML(typ="safe", pure=True).load(render(Outer()))) == Outer()


def test_every_key_has_its_comment() -> None:
    text = render(Outer())
    assert "  lr: 1e-05  # step size (number, > 0)\n" in text
    assert "inner:  # the rest\n" in text
    assert "  size:  # voxels ([integer, integer, integer])\n  - 1\n  - 2\n  - 3\n" in text


def test_dvc_changes_the_one_value_that_it_sets() -> None:
    # As `dvc exp run -S` does: every list is written anew.
    text = render(Params())
    document = parse_yaml_for_update(text, "params.yaml")
    assign(document, Params(crop=CropConfig(spacing_mm=2.5)).model_dump(mode="json"))
    assert dumps_yaml(document) == text.replace("  spacing_mm: 3.5", "  spacing_mm: 2.5")


def assign(document: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            assign(document[key], value)
        else:
            document[key] = value


def test_leaves_have_dotted_names() -> None:
    assert [key.name for key in keys(Outer())] == ["name", "inner.lr", "inner.size"]
