"""The layers, packages without circles, and the code that `dvc.yaml` names."""

import ast
import graphlib
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.runtime.paths import TOP
from stages.app import app

# What a layer may not import: the layers above it, and libraries that are another one's business.
FORBIDDEN = {
    "crossmodalnet": {"pipeline", "stages", "ruamel", "typer", "dvc"},
    "pipeline": {"stages", "typer", "dvc"},
    "stages": {"ruamel", "dvc"},
}
STAGES = YAML(typ="safe", pure=True).load((TOP / "dvc.yaml").read_text("utf-8"))["stages"]
FILES = [file.relative_to(TOP) for layer in FORBIDDEN for file in sorted((TOP / layer).rglob("*.py"))]


def imports_of(file: Path) -> set[str]:
    """Modules that a file imports, inside functions and for types too."""
    nodes = list(ast.walk(ast.parse((TOP / file).read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def package_of(module: str) -> str:
    """The package at the second level, `crossmodalnet.networks.mednext` at the third."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[1:2] == ["networks"] else 2])


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_go_one_way_and_keep_to_the_libraries_of_the_layer(file: Path) -> None:
    allowed = {"typer"} if file == Path("crossmodalnet/cli.py") else set()
    used = {name.split(".")[0] for name in imports_of(file)}
    assert used & (FORBIDDEN[file.parts[0]] - allowed) == set()


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_packages_import_in_no_circle(layer: str) -> None:
    arrows: dict[str, set[str]] = {}
    for file in (file for file in FILES if file.parts[0] == layer and len(file.parts) > 2):
        own = package_of(".".join(file.with_suffix("").parts))
        used = {package_of(name) for name in imports_of(file) if name.startswith(f"{layer}.")}
        arrows.setdefault(own, set()).update(used - {own})
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("stage", STAGES)
def test_deps_of_a_stage_exist(stage: str) -> None:
    deps = [dep.replace("${item.model}", "crossmodalnet") for dep in STAGES[stage]["deps"]]
    code = [dep for dep in deps if dep.split("/")[0] in FORBIDDEN]
    assert [dep for dep in code if not (TOP / dep).exists()] == []


def test_git_ignores_what_dvc_keeps_and_nothing_else() -> None:
    kept: dict[str, bool] = {}
    for stage in STAGES.values():
        for out in [*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])]:
            ((path, options),) = out.items() if isinstance(out, dict) else [(out, {})]
            kept[re.sub(r"\$\{[^}]+\}", "0", path)] = options.get("cache", True)
    asked = subprocess.run(["git", "check-ignore", *kept], cwd=TOP, capture_output=True, text=True, check=True)
    ignored = set(asked.stdout.split())
    # It belongs to one working copy: the check runs in every one.
    assert ignored == {path for path, cached in kept.items() if cached} | {"data/checked.json"}
    assert len((TOP / "dvc.yaml").read_text("utf-8").splitlines()) <= 250


@pytest.mark.parametrize("module", sorted({stage["cmd"].split()[1] for stage in STAGES.values()}))
def test_every_stage_is_a_small_command(module: str) -> None:
    assert module in {command.name for command in app.registered_commands}
    assert len((TOP / "stages" / f"{module}.py").read_text("utf-8").splitlines()) <= 75
