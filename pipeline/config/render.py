"""Write params.yaml with every key's description as a comment."""

import re
from collections.abc import Iterator
from io import StringIO
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

HEADER = """\
# All parameters of the pipeline.
#
#   dvc exp run -S train.lr=4e-3           run an experiment with another value
#   crossmodalnet params explain train     explain keys: meaning, allowed values, default
#   crossmodalnet params use mmwhs         write a preset into this file: default, quick, smoke, compare,
#                                          fusion, adapt, ct_to_mr, mr_to_ct, mmwhs or paper
#
# `params use` writes this file anew, and comments that you have added are lost.
"""


class ParameterKey(NamedTuple):
    """One leaf of params.yaml."""

    name: str
    value: Any
    kind: str
    description: str


def render(params: BaseModel) -> str:
    """Write all sections as YAML 1.2; only end-of-line comments survive `dvc exp run -S`."""
    text = HEADER
    for entry in _entries(params, ""):
        # `dvc exp run -S` would drop a blank line after a list.
        text += entry if text.rstrip("\n").rpartition("\n")[2].lstrip().startswith("- ") else f"\n{entry}"
    return text


def keys(params: BaseModel, prefix: str = "") -> Iterator[ParameterKey]:
    """Iterate over the leaves with dotted names."""
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        if isinstance(value, BaseModel):
            yield from keys(value, f"{prefix}{name}.")
        else:
            yield ParameterKey(prefix + name, value, allowed(field), field.description or "")


def to_yaml(value: Any) -> str:
    """Write a value on one line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = True
    yaml.width = 10_000
    stream = StringIO()
    yaml.dump(_plain(value), stream)
    return stream.getvalue().removesuffix("...\n").strip()


def allowed(field: FieldInfo) -> str:
    """Describe the allowed values of a field, for instance `number, > 0`."""
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
    if origin is dict:
        return f"{_kind(arguments[0])}: {_kind(arguments[1])}"
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
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:  # {field.description}\n" + "".join(_entries(value, indent + "  "))
        else:
            text = _block(value, indent)
            first = text if text.startswith("\n") else f" {text}" if text else ""
            comment = f"  # {_comment(field)}"
            yield f"{indent}{name}:" + (comment + first if first.startswith("\n") else first + comment) + "\n"


def _comment(field: FieldInfo) -> str:
    """Describe a field, with its allowed values if they are short and not yet described."""
    description, kind = field.description or "", allowed(field)
    is_choice = get_origin(field.annotation) is Literal
    listed = is_choice and set(get_args(field.annotation)) <= set(re.findall(r"\w+", description))
    return description if field.annotation is bool or listed or len(kind) > 60 else f"{description} ({kind})"


def _block(value: Any, indent: str) -> str:
    """Write a value as DVC does: lists as blocks, null as an empty value."""
    if value is None:
        return ""
    if not isinstance(value, list | tuple) or not value:
        return to_yaml(value)
    items = (_block(item, indent + "  ").lstrip("\n ") for item in value)
    return "".join(f"\n{indent}- {item}" for item in items)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
