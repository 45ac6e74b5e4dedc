import subprocess
import sys
from pathlib import Path

import pytest

from crossmodalnet.processes import is_plain, plain_folder, remove_stale, scratch_folder


def test_a_scratch_folder_is_plain_and_gone_afterwards() -> None:
    with scratch_folder() as folder:
        assert is_plain(folder)
        (folder / "x").touch()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["Heart study, 2027", "mmwhs [copy]", "Übung", "a'b", "x*"])
def test_a_folder_of_any_name_has_a_plain_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with plain_folder(tmp_path / name) as plain:
        assert is_plain(plain)
        (plain / "file").write_text("x")
    assert (tmp_path / name / "file").read_text() == "x"
    assert not plain.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f"crossmodalnet-{gone.pid}-x", "crossmodalnet-1-x", "crossmodalnet-other"):
        (tmp_path / name).mkdir()
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crossmodalnet-1-x", "crossmodalnet-other"]
