"""Parameters from dataclasses of the library."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from crossmodalnet.config import Config

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def option(settings: type, name: str) -> Any:
    """Give a parameter the default, the bounds and the description of an option of the library.

    Args:
        settings: dataclass of the library, whose fields carry bounds and `description` as metadata.
        name: name of the field, which the parameter has too.
    """
    found = next(field for field in fields(settings) if field.name == name)
    return Field(found.default, **found.metadata)


def settings_from(section: Config, kind: type[T]) -> T:
    """Make a dataclass of the library from the parameters that are its options.

    Args:
        section: section that has a parameter for each field.
        kind: the dataclass.

    Raises:
        ValueError: a rule of the dataclass is broken.
    """
    return kind(**{field.name: getattr(section, field.name) for field in fields(kind)})
