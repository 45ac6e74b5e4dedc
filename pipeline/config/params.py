"""Reading params.yaml: YAML 1.2 into frozen, strict sections."""

import reprlib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from crossmodalnet.config import Config
from crossmodalnet.errors import UsageError
from pipeline.runtime.paths import PARAMS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SECTIONS = (
    "models", "ablations", "adaptations", "seeds", "runtime", "data", "register", "split", "crop", "network", "losses",
    "augment", "adapt", "train", "tune", "evaluate", "profile", "audit", "compare", "report",
    "export",
)  # fmt: skip


S = TypeVar("S", bound=Config)
T = TypeVar("T", bound="DataclassInstance")
# Of a hostile file a value can be larger than any memory when it is written out.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = 20


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


def read_raw(path: Path = PARAMS) -> dict[str, Any]:
    """Read the file as plain YAML 1.2, in which `1e-05` (as `dvc exp run -S` writes it) is a number.

    Raises:
        UsageError: no such file, not YAML, or a section that does not exist.
    """
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} not found: run from the top of the repository") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deep to be parameters") from error
    except YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path} must hold sections, got {type(raw).__name__}")
    if unknown := sorted(set(raw) - set(SECTIONS)):
        raise UsageError(f"{path}: unknown section {', '.join(unknown)}; known: {', '.join(SECTIONS)}")
    return raw


def read_value(text: str) -> Any:
    """Read one value as YAML 1.2, as `-S key=value` has it.

    Raises:
        UsageError: not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise UsageError(f"{text!r} is not valid YAML: {error}") from error


def load_section(section: type[S], *keys: str, path: Path = PARAMS) -> S:
    """Read the section at `keys`, for instance `load_section(TrainConfig, "train")`.

    Raises:
        UsageError: an unknown key, a wrong type or an impossible value; names the key, the value and what is allowed.
    """
    values: Any = read_raw(path)
    for key in keys:
        values = (values or {}).get(key)
    return validate(section, values or {}, ".".join(keys), path)


def validate(section: type[S], values: Any, prefix: str, path: Path = PARAMS) -> S:
    """Check `values` against `section`; `prefix` is its dotted place in `path`, for messages."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        lines = [_explain(prefix, issue) for issue in error.errors()]
        raise UsageError("\n".join([f"{path} has {len(lines)} bad value(s):", *lines])) from error


def _explain(prefix: str, issue: Any) -> str:
    key = ".".join([prefix, *(str(part) for part in issue["loc"])]).strip(".")
    if issue["type"] == "extra_forbidden":
        return f"  {key}: unknown key; `crossmodalnet params explain {prefix}` lists the known ones"
    return f"  {key} = {_SHORT.repr(issue['input'])}: {issue['msg']}"
