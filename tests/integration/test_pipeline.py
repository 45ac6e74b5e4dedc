"""The commands of the README, really run, on the smoke preset."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from tests.integration.conftest import Clone

pytestmark = pytest.mark.slow


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '([^']+)'", output)


@pytest.mark.parametrize("along", [("", ""), ("LPS", "IAR")], ids=["stored", "turned"])
def test_predict_gives_the_label_map_of_evaluate(smoke: Clone, tmp_path: Path, along: tuple[str, str]) -> None:
    model = shutil.copytree(smoke.folder / "exported/crossmodalnet/seed0", tmp_path / "model")
    pair = json.loads((smoke.folder / "data/split.json").read_text("utf-8"))["test"][0]
    manifest = pd.read_csv(smoke.folder / "data/raw/manifest.csv").set_index("subject")
    images = [smoke.folder / "data/raw" / manifest.loc[pair[m], "image"] for m in ("ct", "mr")]
    ct, mr = (shutil.copy(image, tmp_path) for image in images)
    for path, codes in zip((ct, mr), along, strict=True):
        if codes:
            nib.save(_turned(nib.load(path), codes), path)
    out = tmp_path / "out"
    files = ("--ct", str(ct), "--mr", str(mr), "--out", str(out))
    smoke.run("crossmodalnet", "predict", "--model", str(model), *files)
    found = nib.load(out / "labels_ct.nii.gz")
    expected = nib.load(smoke.folder / f"evaluation/crossmodalnet/seed0/predictions/{pair['pair']}.nii.gz")
    if along[0]:
        assert nib.aff2axcodes(found.affine) == tuple(along[0])
        found = _turned(found, nib.aff2axcodes(expected.affine))
        np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)
        assert found.shape == expected.shape
        assert (np.asarray(found.dataobj) != np.asarray(expected.dataobj)).mean() <= 1e-4  # ties
    else:
        np.testing.assert_array_equal(found.affine, expected.affine)
        np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    assert nib.load(out / "labels_mr.nii.gz").shape == nib.load(mr).shape


def _turned(image: nib.Nifti1Image, codes: Iterable[str]) -> nib.Nifti1Image:
    """The same voxels, stored along other axes, in memory."""
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(codes)))
    turned = image.as_reoriented(turn)
    return nib.Nifti1Image(np.array(turned.dataobj), turned.affine, turned.header)


def test_repro_again_runs_nothing(smoke: Clone) -> None:
    output = smoke.run("dvc", "repro")
    assert stages_run(output) == []
    assert "up to date" in output


@pytest.mark.stress
def test_an_experiment_and_back(smoke: Clone) -> None:
    first = json.loads((smoke.folder / "metrics/crossmodalnet/seed0.json").read_text("utf-8"))
    rate = re.search(r"^  lr: (\S+)", (smoke.folder / "params.yaml").read_text("utf-8"), re.M)
    assert rate
    output = smoke.run("dvc", "exp", "run", "-S", "train.lr=1e-5")
    assert sorted(stages_run(output)) == sorted([
        "check", "train@crossmodalnet-0", "evaluate@crossmodalnet-0", "export@crossmodalnet-0", "audit@crossmodalnet",
        "compare", "report",
    ])  # fmt: skip
    table = smoke.run("dvc", "metrics", "diff")
    assert re.search(r"metrics/crossmodalnet/seed0.json\s+dice ", table)
    smoke.run("dvc", "plots", "diff", "-o", "dvc_plots")
    page = (smoke.folder / "dvc_plots/index.html").read_text("utf-8")
    assert all(name in page for name in ("loss_dice", "val_dice", "hd95_mm", "workspace"))
    # The check runs for every change of parameters, and compare, whose tables are in git, takes seconds.
    assert stages_run(smoke.run("dvc", "exp", "run", "-S", f"train.lr={rate[1]}")) == ["check", "compare"]
    assert json.loads((smoke.folder / "metrics/crossmodalnet/seed0.json").read_text("utf-8")) == first
    assert smoke.run("git", "status", "--porcelain") == ""


@pytest.mark.stress
def test_a_comparison_trains_only_what_is_new(smoke: Clone) -> None:
    changes = ("-S", "models=[crossmodalnet,mednext]", "-S", "ablations=[no_cross]")
    output = smoke.run("dvc", "exp", "run", *changes)
    assert set(stages_run(output)) == {
        "check", "train@mednext-0", "ablate@crossmodalnet-no_cross-0", "evaluate@mednext-0",
        "evaluate-ablation@crossmodalnet-no_cross-0", "profile@mednext", "profile-ablation@crossmodalnet-no_cross",
        "audit@mednext", "export@mednext-0", "compare", "report",
    }  # fmt: skip
    page = (smoke.folder / "report/index.html").read_text("utf-8")
    assert "MedNeXt" in page
    assert "without cross attention" in page
    # Back again nothing is trained; the others' results stay in the folders that the report depends on.
    back = smoke.run("dvc", "exp", "run", "-S", "models=[crossmodalnet]", "-S", "ablations=[]")
    assert set(stages_run(back)) <= {"check", "compare", "report"}
    smoke.run("git", "checkout", "-q", ".")
    smoke.run("git", "clean", "-fdq")


def test_a_clone_without_data_has_nothing_to_do_and_compares_revisions(smoke: Clone, tmp_path: Path) -> None:
    smoke.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = Clone(tmp_path / "clone")
    output = clone.run("dvc", "repro", "--dry", "--allow-missing")
    assert stages_run(output) == []
    assert "up to date" in output
    for name, old, new in (
        ("metrics/crossmodalnet/seed0.json", '"dice": 0', '"dice": 1'),
        ("params.yaml", " lr: 0", " lr: 1"),
    ):
        file = clone.folder / name
        file.write_text(file.read_text("utf-8").replace(old, new, 1))
    assert re.search(r"dice +0\.\d+ +1\.\d+ +1\b", clone.run("dvc", "metrics", "diff", "HEAD"))
    assert re.search(r"train.lr +0\.\d+ +1\.\d+", clone.run("dvc", "params", "diff", "HEAD"))
    clone.run("dvc", "plots", "diff", "HEAD")
    page = (clone.folder / "dvc_plots/index.html").read_text("utf-8")
    assert all(name in page for name in ("loss_dice", "val_dice", "hd95_mm", "workspace"))


@pytest.mark.stress
def test_an_option_changes_the_verdicts_concerned_and_only_those(smoke: Clone) -> None:
    file = smoke.folder / "audit/crossmodalnet/figures.json"
    first = json.loads(file.read_text("utf-8"))
    smoke.run("dvc", "exp", "run", "-S", "network.crossmodalnet.similarity=cosine")
    second = json.loads(file.read_text("utf-8"))
    changed = {key for key in first if first[key]["verdict"] != second[key]["verdict"]}
    assert changed == {"definition_2", "theorem_2_1_2"}
    table = smoke.run("dvc", "metrics", "diff", "--targets", "audit/crossmodalnet/figures.json")
    assert re.search(r"theorem_2_1_2.verdict\s+fails\s+holds", table)
    smoke.run("git", "reset", "-q", "--hard")
    smoke.run("dvc", "checkout", "-q")


@pytest.mark.stress
def test_adaptation_is_part_of_train_and_reruns_nothing_upstream(smoke: Clone) -> None:
    output = smoke.run(
        *("dvc", "exp", "run", "-S", "adapt.enabled=true", "-S", "adaptations=[source_only,supervised]"),
        *("-S", "adapt.target.phantom.num_labelled=4", "-S", "adapt.target.phantom.ct_spacing_mm=6.0"),
        *("-S", "adapt.target.phantom.mr_spacing_mm=6.0", "-S", "adapt.confidence=0.1"),
    )
    assert set(stages_run(output)) == {
        "check", "target", "train@crossmodalnet-0", "adapt@crossmodalnet-source_only-0",
        "adapt@crossmodalnet-supervised-0", "evaluate@crossmodalnet-0",
        "evaluate-adaptation@crossmodalnet-source_only-0", "evaluate-adaptation@crossmodalnet-supervised-0",
        "audit@crossmodalnet", "export@crossmodalnet-0", "compare", "report",
    }  # fmt: skip
    metrics = json.loads((smoke.folder / "metrics/crossmodalnet/seed0.json").read_text("utf-8"))
    assert 0 <= metrics["target_dice"] <= 1
    assert "gap" in output
    assert "Adaptation to another domain" in (smoke.folder / "report/index.html").read_text("utf-8")
    # Training sees no label of the target: without them it gives the same weights, not even resumed.
    weights = smoke.folder / "models/crossmodalnet/seed0/weights.safetensors"
    expected = weights.read_bytes()
    shutil.rmtree(smoke.folder / ".work/train")
    shutil.rmtree(smoke.folder / "data/target_labels")
    smoke.run("dvc", "repro", "-f", "-s", "train@crossmodalnet-0")
    assert weights.read_bytes() == expected
    smoke.run("git", "reset", "-q", "--hard")
    smoke.run("dvc", "checkout", "-q", "-f")


def test_metrics_fit_a_screen(smoke: Clone) -> None:
    shown = smoke.run("dvc", "metrics", "show")
    assert all(f" {name} " in shown for name in ("dice", "LV", "miou", "hd95_mm"))
    assert max(map(len, shown.splitlines())) <= 160


@pytest.mark.stress
def test_training_killed_in_the_middle_goes_on_and_ends_the_same(smoke: Clone) -> None:
    weights = smoke.folder / "models/crossmodalnet/seed0/weights.safetensors"
    expected = weights.read_bytes()
    shutil.rmtree(smoke.folder / ".work/train")
    command = ["python", "-m", "stages", "train", "--model", "crossmodalnet"]
    start_and_kill(smoke, command, lambda: any((smoke.folder / ".work/train").rglob("*.safetensors")))
    output = smoke.run(*command)
    assert "going on in epoch" in output
    assert weights.read_bytes() == expected


@pytest.mark.stress
def test_registration_killed_in_the_middle_reuses_finished_pairs(smoke: Clone) -> None:
    work = smoke.folder / ".work/register"
    expected = {p: p.read_bytes() for p in sorted((smoke.folder / "data/registered").rglob("*.nii.gz"))}
    shutil.rmtree(work)
    command = ["python", "-m", "stages", "register"]
    start_and_kill(smoke, command, lambda: any(work.rglob("done.json")), os.killpg)
    finished = {path: path.stat().st_mtime_ns for path in work.rglob("done.json")}
    smoke.run(*command)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert {p: p.read_bytes() for p in expected} == expected


def start_and_kill(smoke: Clone, command: list[str], condition: Callable[[], bool], kill=os.kill) -> None:
    """Kill a command, with `os.killpg` its processes too, as soon as the condition holds."""
    kept = {"cwd": smoke.folder, "env": smoke.environment(), "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(smoke.command(*command), start_new_session=True, **kept)
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, f"ended early: {process.communicate()[1]}"
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)
    kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_bad_parameters_stop_the_stage_with_code_2(smoke: Clone, tmp_path: Path) -> None:
    params = smoke.folder / "params.yaml"
    text = params.read_text("utf-8")
    try:
        params.write_text(text.replace("margin_mm", "margin"))
        assert "crop.margin: unknown key" in smoke.run("crossmodalnet", "crop", expect=2)
        output = smoke.run("dvc", "repro", expect=255)
        assert stages_run(output) == ["check"]
        assert "crop.margin: unknown key" in output
    finally:
        params.write_text(text)


@pytest.mark.stress
def test_a_cohort_in_an_output_is_never_deleted_by_repro(smoke: Clone, tmp_path: Path) -> None:
    smoke.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = Clone(tmp_path / "clone")
    own = clone.folder / "data/raw/ct_train_1001_image.nii.gz"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"the only copy")
    (clone.folder / "mine").symlink_to("data/raw")
    text = (clone.folder / "params.yaml").read_text("utf-8")
    for path in ("data/raw", "mine", str(own.parent), "tests/../data/raw", "data"):
        changed = text.replace("source: phantom", "source: mmwhs", 1).replace("  path:", f"  path: {path}", 1)
        (clone.folder / "params.yaml").write_text(changed)
        assert "nothing was touched" in clone.run("dvc", "repro", "download", expect=255)
        assert own.read_bytes() == b"the only copy"
    (clone.folder / "params.yaml").write_text(text)
    assert "holds files that no stage wrote" in clone.run("dvc", "repro", expect=255)
    assert own.read_bytes() == b"the only copy"
    assert "move the files" in clone.run("python", "-m", "stages", "doctor", expect=4)
