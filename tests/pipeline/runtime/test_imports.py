"""The import closure sees what runs, and only that."""

from pathlib import Path

import pytest

from pipeline.runtime import imports


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of three modules in one package."""
    folder = tmp_path / "pipeline"
    folder.mkdir()
    for name in ("__init__", "typed", "run"):
        (folder / f"{name}.py").write_text("")
    monkeypatch.setattr(imports, "TOP", tmp_path)
    for function in (imports._source, imports._imported):
        monkeypatch.setattr(imports, function.__name__, function.__wrapped__)
    return folder


@pytest.mark.parametrize("guard", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_imports_for_types_alone_are_left_out_and_their_else_is_not(project: Path, guard: str) -> None:
    (project / "user.py").write_text(
        f"if {guard}:\n    from pipeline.typed import A\nelse:\n    from pipeline.run import A\n"
    )
    assert imports.imported("pipeline.user") == [Path("pipeline/run.py")]


@pytest.mark.parametrize("guard", ["not TYPE_CHECKING", "DEBUG"])
def test_other_conditions_run(project: Path, guard: str) -> None:
    (project / "user.py").write_text(f"def f():\n    if {guard}:\n        import pipeline.run\n")
    assert imports.imported("pipeline.user") == [Path("pipeline/run.py")]


def test_a_folder_without_init_is_a_package_that_runs_nothing(project: Path) -> None:
    (project / "toy").mkdir()
    (project / "toy" / "network.py").write_text("import pipeline.run\n")
    assert imports.closure("pipeline.toy.network") == [
        Path("pipeline/__init__.py"), Path("pipeline/run.py"), Path("pipeline/toy/network.py"),
    ]  # fmt: skip
