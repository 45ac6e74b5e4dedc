from pydantic import Field
from ruamel.yaml import YAML

from pipeline.params.base import IntTriple, Section
from pipeline.params.render import keys, render


class Inner(Section):
    lr: float = Field(1e-5, gt=0, description="step size")
    size: IntTriple = Field((1, 2, 3), description="voxels")


class Outer(Section):
    name: str | None = Field(None, description="a name")
    inner: Inner = Field(Inner(), description="the rest")


def test_what_is_written_reads_back_as_it_was() -> None:
    assert Outer.model_validate(YAML(typ="safe", pure=True).load(render(Outer()))) == Outer()


def test_every_key_has_its_comment() -> None:
    text = render(Outer())
    assert "  # step size (number, > 0)\n  lr: 1e-05\n" in text
    assert "# the rest\ninner:\n" in text
    assert "  size: [1, 2, 3]\n" in text


def test_leaves_have_dotted_names() -> None:
    assert [key.name for key in keys(Outer())] == ["name", "inner.lr", "inner.size"]
