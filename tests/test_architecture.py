"""The arrows of the house: stages -> pipeline -> crossmodalnet, rooms without circles; dvc.yaml names the rooms."""

import ast
import graphlib
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from crossmodalnet.networks.common.build import BUILDERS
from pipeline.common.imports import TOP, closure, imported
from stages.app import app

MAY_IMPORT = {
    "crossmodalnet": {"crossmodalnet"},
    "pipeline": {"pipeline", "crossmodalnet"},
    "stages": {"stages", "pipeline", "crossmodalnet"},
}
STAGES = YAML(typ="safe", pure=True).load((TOP / "dvc.yaml").read_text("utf-8"))["stages"]


def modules(package: str) -> list[str]:
    files = sorted((TOP / package).rglob("*.py"))
    dotted = [".".join(file.relative_to(TOP).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in dotted]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    used = {path.parts[0] for path in closure(*modules(package))}
    assert used <= MAY_IMPORT[package]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_for_types_alone_go_the_same_way(package: str) -> None:
    """The closure leaves them out."""
    texts = [file.read_text("utf-8") for file in (TOP / package).rglob("*.py")]
    used = {name for text in texts for name in re.findall(r"^ +(?:from|import) (\w+)", text, re.MULTILINE)}
    assert used & set(MAY_IMPORT) <= MAY_IMPORT[package]


def room_of(file: Path) -> Path:
    """The folder of a module; a module that lies loose at the top of a package is a room of its own."""
    return file if len(file.parts) == 2 else file.parent


def code_of(files: list[Path]) -> set[Path]:
    """Leave out what only says what a package is."""
    return {file for file in files if file.name != "__init__.py"}


def network_code(name: str) -> set[Path]:
    return code_of(closure(*(m for m in modules(f"crossmodalnet/networks/{name}"))))


def declared(stage: str, model: str) -> set[Path]:
    deps = [dep.replace("${item.model}", model) for dep in STAGES[stage]["deps"]]
    return {Path(dep) for dep in deps if Path(dep).parts[0] in MAY_IMPORT}


# What is imported by name, so that imports alone do not tell: modules that find others, and those that they find.
FOUND_BY_NAME = {
    "crossmodalnet/adaptation/terms/registry.py": "crossmodalnet/adaptation/terms",
    "crossmodalnet/theory/checks.py": "crossmodalnet/theory",
}


def needed(stage: str, model: str) -> set[Path]:
    """The code that a stage runs; networks are built by name too."""
    code = code_of(closure(f"stages.{STAGES[stage]['cmd'].split()[1]}"))
    for finder, room in FOUND_BY_NAME.items():
        if Path(finder) in code:
            code |= code_of(closure(*modules(room)))
    builds = Path("crossmodalnet/networks/common/build.py") in code
    return code | network_code(model) if builds else code


def models_of(stage: str) -> list[str]:
    return list(BUILDERS) if "model" in STAGES[stage].get("matrix", {}) else ["crossmodalnet"]


@pytest.mark.parametrize(
    ("stage", "model"), [(stage, model) for stage in STAGES for model in models_of(stage)]
)
def test_the_deps_of_a_stage_are_the_rooms_of_the_code_it_runs(stage: str, model: str) -> None:
    rooms, code = declared(stage, model), needed(stage, model)
    if stage == "check":  # what it writes is always the same; `dvc.yaml` says more
        code = {file for file in code if rooms & {file, *file.parents}}
    missing = {room_of(file) for file in code if not rooms & {file, *file.parents}}
    needless = {room for room in rooms if not any(room in {file, *file.parents} for file in code)}
    assert not missing, f"add to the deps of {stage} in dvc.yaml: {', '.join(sorted(map(str, missing)))}"
    assert not needless, f"take from the deps of {stage} in dvc.yaml: {', '.join(sorted(map(str, needless)))}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_few_single_files(stage: str) -> None:
    assert len([dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")]) <= 5


def test_dvc_yaml_can_be_read_by_a_person() -> None:
    assert len((TOP / "dvc.yaml").read_text("utf-8").splitlines()) <= 450


def test_rooms_import_in_no_circle() -> None:
    arrows: dict[Path, set[Path]] = {}
    for module in (m for package in MAY_IMPORT for m in modules(package)):
        room = room_of(Path(*module.split(".")).with_suffix(".py"))
        if (TOP / Path(*module.split("."))).with_suffix(".py").is_file():
            arrows.setdefault(room, set()).update(map(room_of, code_of(imported(module))))
    graph = {room: {to for to in found if to != room} for room, found in arrows.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(map(str, reversed(error.args[1]))))


def test_few_modules_lie_loose_in_the_pipeline() -> None:
    assert len(code_of(list((TOP / "pipeline").glob("*.py")))) <= 6


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_importing_a_package_imports_nothing_else(package: str) -> None:
    assert imported(package) == []


@pytest.mark.parametrize("module", sorted({stage["cmd"].split()[1] for stage in STAGES.values()}))
def test_stage_modules_stay_small(module: str) -> None:
    assert len((TOP / "stages" / f"{module}.py").read_text("utf-8").splitlines()) < 80


@pytest.mark.parametrize("module", sorted({stage["cmd"].split()[1] for stage in STAGES.values()}))
def test_every_stage_is_a_command(module: str) -> None:
    assert module in {command.name for command in app.registered_commands}


@pytest.mark.parametrize("package", ["crossmodalnet", "pipeline", "stages"])
def test_the_library_knows_no_yaml_dvc_or_typer(package: str) -> None:
    allowed = {"crossmodalnet": set(), "pipeline": {"ruamel"}, "stages": {"typer"}}[package]
    for file in (TOP / package).rglob("*.py"):
        text = file.read_text("utf-8")
        for name in {"ruamel", "typer", "dvc"} - allowed:
            assert f"import {name}" not in text, file
            assert f"from {name}" not in text, file


ALL = {"tune", "train", "evaluate", "profile", "export"}
OF_OURS = {"ablate", "adapt", "evaluate-ablation", "evaluate-adaptation", "profile-ablation"}


@pytest.mark.parametrize(
    ("edited", "model", "stages"),
    [
        ("pipeline/comparison/titles.py", "mednext", {"compare", "report"}),
        ("pipeline/report/page/template.html.jinja", "mednext", {"report"}),
        (
            "crossmodalnet/scoring/surface.py",
            "mednext",
            {"evaluate", "evaluate-ablation", "evaluate-adaptation", "atlas", "compare", "report"},
        ),
        ("crossmodalnet/networks/mednext/network.py", "mednext", {*ALL, "audit"}),
        ("crossmodalnet/networks/mednext/network.py", "resenc_unet", set()),
        ("crossmodalnet/networks/mednext/network.py", "crossmodalnet", set()),
        ("crossmodalnet/networks/crossmodalnet/swin.py", "crossmodalnet", {*ALL, *OF_OURS, "audit"}),
        (
            "pipeline/training/trainer.py",
            "mednext",
            {"tune", "train", "ablate", "adapt"},
        ),
        (
            "pipeline/learning/learner.py",
            "mednext",
            {"tune", "train", "ablate", "adapt", "profile", "profile-ablation"},
        ),
        ("crossmodalnet/adaptation/adapter.py", "mednext", {"tune", "train", "ablate", "adapt"}),
        ("crossmodalnet/data/augmentation.py", "mednext", {"tune", "train", "ablate", "adapt"}),
        ("pipeline/sources/params.py", "mednext", {"download", "target", "report"}),
        ("crossmodalnet/registration/syn.py", "mednext", {"register", "crop", "target", "export"}),
        ("pipeline/common/errors.py", "mednext", set(STAGES)),
    ],
)
def test_an_edit_reruns_the_stages_that_the_docs_name(edited: str, model: str, stages: set[str]) -> None:
    file = Path(edited)
    assert (TOP / file).is_file()
    rerun = {stage for stage in STAGES if declared(stage, model) & {file, *file.parents}}
    assert rerun == stages


def test_class_names_are_unique_in_the_tree() -> None:
    places: dict[str, list[str]] = {}
    for module in (name for package in MAY_IMPORT for name in modules(package)):
        file = TOP.joinpath(*module.split(".")).with_suffix(".py")
        for node in ast.parse(file.read_text("utf-8")).body if file.is_file() else []:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
