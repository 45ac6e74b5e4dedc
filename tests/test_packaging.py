"""What is said about the package in several places is the same."""

import re
import tomllib

from ruamel.yaml import YAML

import crossmodalnet
from pipeline.runtime.paths import TOP

PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))


def test_the_version_is_one() -> None:
    citation = YAML(typ="safe", pure=True).load((TOP / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == PROJECT["project"]["version"] == crossmodalnet.__version__
    assert citation["license"] == PROJECT["project"]["license"]


def test_the_wheel_has_its_types_and_all_that_is_not_python() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    for package in ("crossmodalnet", "pipeline", "stages"):
        folder = TOP / package
        packed = {file for pattern in patterns.get(package, []) for file in folder.glob(pattern)}
        others = {
            file
            for file in folder.rglob("*")
            if file.is_file() and file.suffix not in (".py", ".pyc") and "__pycache__" not in file.parts
        }
        assert others == packed
    assert (TOP / "crossmodalnet/py.typed").is_file()


def test_what_the_container_copies_is_there() -> None:
    for line in re.findall(r"^COPY --chown=heart (.+)$", (TOP / "Dockerfile").read_text("utf-8"), re.M):
        assert all((TOP / name).exists() for name in line.split()[:-1]), line
