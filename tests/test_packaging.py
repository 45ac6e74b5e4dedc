import re
import tomllib

from ruamel.yaml import YAML

import crossmodalnet
from pipeline.runtime.paths import TOP

PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))


def test_version_and_licence_are_those_of_the_citation() -> None:
    citation = YAML(typ="safe", pure=True).load((TOP / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == PROJECT["project"]["version"] == crossmodalnet.__version__
    assert citation["license"] == PROJECT["project"]["license"]


def test_wheel_has_all_files_of_the_library() -> None:
    folder = TOP / "crossmodalnet"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["crossmodalnet"]
    packed = {file for pattern in patterns for file in folder.glob(pattern)}
    files = {file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert {file for file in files if file.suffix != ".py"} == packed
    assert folder / "py.typed" in packed


def test_files_of_the_container_exist() -> None:
    for line in re.findall(r"^COPY --chown=heart (.+)$", (TOP / "Dockerfile").read_text("utf-8"), re.M):
        assert all((TOP / name).exists() for name in line.split()[:-1]), line
