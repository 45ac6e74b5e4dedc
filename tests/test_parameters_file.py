"""params.yaml as committed is what the schema writes, and the presets say what they promise."""

import re
from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from pipeline.config import presets
from pipeline.config.params import SECTIONS, Params
from pipeline.config.render import keys, render
from pipeline.runtime.paths import TOP


def test_the_committed_file_is_the_default_preset() -> None:
    assert (TOP / "params.yaml").read_text("utf-8") == render(Params())


def test_every_key_is_described() -> None:
    assert [key.name for key in keys(Params()) if len(key.description) < 8] == []


def test_the_sections_are_those_of_the_schema() -> None:
    assert tuple(Params.model_fields) == SECTIONS


@pytest.mark.parametrize("name", ["default", "smoke", "mmwhs", "paper"])
def test_presets_load(name: str) -> None:
    assert presets.load(name)


def test_the_paper_preset_is_the_paper() -> None:
    paper = presets.load("paper")
    assert (paper.train.batch_size, paper.train.lr, paper.train.epochs, paper.train.devices) == (
        32,
        1e-5,
        100,
        8,
    )
    assert paper.crop.roi == "labels"
    net = paper.network.crossmodalnet
    assert (net.residual, net.values, net.similarity, net.offsets) == ("paper", "b", "dot", "static")
    assert paper.losses.balancing == "paper"


def test_misregistration_is_the_comparison_but_for_what_it_is_about() -> None:
    """Both presets write out cohort, rates and budget; where they differ, it must be meant."""
    compare, displaced = (presets.load(name).model_dump() for name in ("compare", "misregistration"))
    assert displaced["augment"].pop("displacement_probability") > 0
    assert compare["augment"].pop("displacement_probability") == 0
    for params in (compare, displaced):
        params["network"] = {name: params["network"][name] for name in displaced["models"]}
    assert set(displaced.pop("models")) < set(compare.pop("models"))
    assert set(displaced.pop("ablations")) < set(compare.pop("ablations"))
    assert displaced == compare


DEPENDS_ON_ANOTHER_LINE = re.compile(
    r"(of|its?|theirs?|them|these|those|the same|(every )?how (many|often)|also|and|or|as|by|what|where|which|each"
    r"|on|towards)\b|\w+(, \w+)*( or \w+)?: ",  # the last: a choice before the noun that it is a choice of
    re.IGNORECASE,
)


def described(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        yield prefix + name, field.description or ""
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from described(kind, f"{prefix}{name}.")


@pytest.mark.parametrize(("key", "description"), list(described(Params)))
def test_every_key_is_described_in_words_that_stand_by_themselves(key: str, description: str) -> None:
    assert description
    assert not DEPENDS_ON_ANOTHER_LINE.match(description), f"{key}: begin with the noun"


@pytest.mark.parametrize(
    "start", ["of them", "theirs, at most", "every how many steps", "both: the paper", "its lr"]
)
def test_a_description_that_depends_on_another_line_is_seen(start: str) -> None:
    assert DEPENDS_ON_ANOTHER_LINE.match(start)
