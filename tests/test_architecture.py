"""The arrows of the house: stages -> pipeline -> crossmodalnet; dvc.yaml lists the code that stages run."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.imports import TOP, closure

MAY_IMPORT = {
    "crossmodalnet": {"crossmodalnet"},
    "pipeline": {"pipeline", "crossmodalnet"},
    "stages": {"stages", "pipeline", "crossmodalnet"},
}
STAGES = YAML(typ="safe", pure=True).load((TOP / "dvc.yaml").read_text())["stages"]


def modules(package: str) -> list[str]:
    files = sorted((TOP / package).rglob("*.py"))
    dotted = [".".join(file.relative_to(TOP).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in dotted]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    used = {path.parts[0] for path in closure(*modules(package))}
    assert used <= MAY_IMPORT[package]


@pytest.mark.parametrize("stage", STAGES)
def test_the_deps_of_a_stage_are_the_code_it_runs(stage: str) -> None:
    declared = {Path(dep) for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    needed = set(closure(f"stages.{STAGES[stage]['cmd'].split()[1]}"))
    assert sorted(map(str, needed - declared)) == [], "run `make deps`"
    assert sorted(map(str, declared - needed)) == [], "run `make deps`"


@pytest.mark.parametrize("module", sorted({stage["cmd"].split()[1] for stage in STAGES.values()}))
def test_stage_modules_stay_small(module: str) -> None:
    assert len((TOP / "stages" / f"{module}.py").read_text().splitlines()) < 80


@pytest.mark.parametrize("package", ["crossmodalnet", "pipeline", "stages"])
def test_the_library_knows_no_yaml_dvc_or_typer(package: str) -> None:
    allowed = {"crossmodalnet": set(), "pipeline": {"ruamel"}, "stages": {"typer"}}[package]
    for file in (TOP / package).rglob("*.py"):
        text = file.read_text()
        for name in {"ruamel", "typer", "dvc"} - allowed:
            assert f"import {name}" not in text, file
            assert f"from {name}" not in text, file
