"""params.yaml as text: every key with its description as comment, from the schema."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

HEADER = """\
# The parameters of the pipeline, and its only configuration.
#
#   dvc exp run -S train.lr=1e-5           an experiment with another value
#   crossmodalnet params explain train     what the keys mean and what they may be
#   crossmodalnet params use mmwhs         write a preset (default, smoke, mmwhs, paper) into this file
#
# This text is written from the schema in pipeline/params/; comments of your own are lost when a preset is used.
"""


@dataclass(frozen=True)
class Key:
    """One leaf of params.yaml."""

    name: str
    value: Any
    kind: str
    description: str


def render(params: BaseModel) -> str:
    """Write all sections as YAML 1.2 with comments."""
    return HEADER + "".join(f"\n{text}" for text in _entries(params, indent=""))


def keys(params: BaseModel, prefix: str = "") -> Iterator[Key]:
    """Walk the leaves, with dotted names."""
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        if isinstance(value, BaseModel):
            yield from keys(value, f"{prefix}{name}.")
        else:
            yield Key(prefix + name, value, allowed(field), field.description or "")


def to_yaml(value: Any) -> str:
    """Write a value on one line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = True
    yaml.width = 10_000
    stream = StringIO()
    yaml.dump(_plain(value), stream)
    return stream.getvalue().removesuffix("...\n").strip()


def allowed(field: FieldInfo) -> str:
    """Say in short what a field may be, for instance `number, > 0`."""
    bounds = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    limits = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in bounds.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([_kind(field.annotation), *limits])


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(to_yaml(argument) for argument in arguments)
    if origin in (Union, UnionType):
        return " | ".join(_kind(argument) for argument in arguments)
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"list of {_kind(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(_kind(argument) for argument in arguments)}]"
    if arguments:  # Annotated
        return _kind(arguments[0])
    names = {int: "integer", float: "number", bool: "true | false", str: "text", type(None): "null"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _entries(params: BaseModel, indent: str) -> Iterator[str]:
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        nested = isinstance(value, BaseModel)
        comment = field.description or "" if nested else f"{field.description} ({allowed(field)})"
        lines = textwrap.wrap(comment, 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ")
        lines.append(f"{indent}{name}:" if nested else f"{indent}{name}: {to_yaml(value)}")
        text = "\n".join(lines) + "\n"
        yield text + "".join(_entries(value, indent + "  ")) if nested else text


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
