import hashlib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from crossmodalnet.errors import UsageError
from pipeline.cohort.guard import existing_path, foreign_files, note_written, path_problems, refuse_outputs
from pipeline.config.sections import Archive, DataConfig, TargetConfig
from pipeline.runtime.paths import OUTPUTS, TOP


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "project"
    (top / "data/raw").mkdir(parents=True)
    monkeypatch.chdir(top)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return top


def test_every_output_of_dvc_yaml_is_guarded() -> None:
    stages = YAML(typ="safe", pure=True).load((TOP / "dvc.yaml").read_text("utf-8"))["stages"]
    outs = [out for stage in stages.values() for out in (*stage["outs"], *stage.get("metrics", []))]
    cached = [Path(out) for out in outs if isinstance(out, str)]
    assert len(cached) > 15
    assert [out for out in cached if not {out, *out.parents} & set(OUTPUTS)] == []


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
@pytest.mark.parametrize("below", ["", "own", "own/deep/file.zip"])
def test_path_in_an_output_is_refused_in_any_spelling(project: Path, output: Path, below: str) -> None:
    path = project / output / below
    path.mkdir(parents=True, exist_ok=True)
    (project / "link").symlink_to(path)
    (project.parent / "elsewhere").symlink_to(project)
    (project / "x").mkdir()
    relative = output / below
    elsewhere = project.parent / "elsewhere" / relative
    for spelled in (path, relative, Path("x/..") / relative, Path("link"), elsewhere):
        with pytest.raises(UsageError, match="nothing was touched"):
            refuse_outputs("data.path", spelled)


def test_home_folder_is_expanded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    (project / "mine").mkdir()
    assert existing_path("~/mine", "data.path") == project / "mine"
    with pytest.raises(UsageError, match="is data/raw"):
        existing_path("~/data/raw", "data.path")


def test_output_linked_to_another_disk_is_guarded(project: Path, tmp_path: Path) -> None:
    (tmp_path / "disk/own").mkdir(parents=True)
    (project / "models").symlink_to(tmp_path / "disk")
    with pytest.raises(UsageError, match="lies in models"):
        refuse_outputs("data.path", tmp_path / "disk/own")


def test_outputs_in_dvc_root_are_guarded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    monkeypatch.setenv("DVC_ROOT", str(project))
    with pytest.raises(UsageError, match="is data/raw"):
        existing_path("data/raw", "data.path")


def test_neighbours_of_outputs_are_allowed(project: Path) -> None:
    for name in ("data/mine", "data/rawdata", "model", "mmwhs"):
        (project / name).mkdir(parents=True)
        refuse_outputs("data.path", project / name)


def test_path_problems_lists_all_sections(project: Path) -> None:
    (project / "report").mkdir()
    archive = Archive(url=(project / "data/raw/a.zip").as_uri(), sha256=64 * "0")
    data = DataConfig(source="mmwhs", path=["data/raw", "report"], urls=[archive])
    problems = path_problems(data, TargetConfig(source="mmwhs", path=str(project)))
    keys = [text.split(" = ")[0] for text in problems]
    assert keys == ["data.path", "data.path", "data.urls", "adapt.target.path"]


def test_path_problems_lists_scans_of_a_table(project: Path) -> None:
    (project / "data/raw/a.nii").write_bytes(b"x")
    (project / "hearts.csv").write_text("patient,modality,image\nA,ct,data/raw/a.nii\n")
    [problem, foreign] = path_problems(DataConfig(source="table", path="hearts.csv"), None)
    assert problem.startswith("data.path names row 2 (ct_A) = ")
    assert "a.nii" in foreign


def test_files_under_dvc_add_may_be_links_into_its_cache(project: Path) -> None:
    kept = project / f".dvc/cache/files/md5/ab/{'0' * 30}"
    kept.parent.mkdir(parents=True)
    kept.touch()
    (project / "hearts").mkdir()
    (project / "hearts/a.nii").symlink_to(kept)
    refuse_outputs("data.path", project / "hearts")
    refuse_outputs("data.path", project / "hearts/a.nii")
    with pytest.raises(UsageError, match="lies in"):
        refuse_outputs("data.path", kept)


def test_files_written_by_the_stage_or_kept_by_dvc_are_not_foreign(project: Path) -> None:
    raw = project / "data/raw"
    (raw / "manifest.csv").write_text("subject,modality,image,label\nct_1,ct,a.nii.gz,\n")
    (raw / "a.nii.gz").write_bytes(b"ours")
    assert foreign_files(project) == []
    note_written(raw)
    assert foreign_files(project) == []
    (raw / "b.nii.gz").write_bytes(b"somebody's")
    assert foreign_files(project) == ["b.nii.gz"]
    (raw / "b.nii.gz").unlink()
    content = b"another cohort under the same name"
    (raw / "a.nii.gz").write_bytes(content)
    assert foreign_files(project) == ["a.nii.gz"]
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    kept = project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert foreign_files(project) == []
