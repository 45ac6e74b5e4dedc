import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from zipfile import ZipFile

import numpy as np
import pytest
from nibabel.affines import from_matvec

from crossmodalnet import cli
from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import write_image
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.model_folder import RECIPE
from crossmodalnet.networks.common.card import BEST, CARD, ModelCard, label_entries, package_versions
from pipeline.training.checkpoint import save_tensors
from tests.crossmodalnet.inference.test_model_folder import CONFIG

BOX = "-20 -20 -20 20 20 20"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network with the card and the recipe of one for CT, MR or both; it has no atlases."""
    folder = tmp_path_factory.mktemp("model")
    card = ModelCard(
        name="resenc_unet", builder="resenc_unet", seed=0, patch_size=(16, 16, 16),
        network={"size": "small", "checkpointing": False, "deep_supervision": False},
        spacing_mm=(4.0, 4.0, 4.0), size=(16, 16, 16), ct_window_hu=(-200, 600), mr_percentiles=(0.5, 99.5),
        labels=label_entries(), num_classes=8, train={"modality_dropout": 0.3}, losses={}, augment={},
        versions=package_versions(), data_fingerprint="", training_pairs=("a",), validation_pairs=("b",), best_epoch=1,
        validation_dice=0.5,
    )  # fmt: skip
    (folder / CARD).write_text(card.model_dump_json(), "utf-8")
    save_tensors(folder / BEST, card.build().state_dict(), {"format": "pt"})
    changes = {"size": (16, 16, 16), "spacing_mm": 4.0, "heart_likeness": None, "mr_likeness": None, "overlap": 0.0}
    (folder / RECIPE).write_text(CONFIG.model_copy(update=changes).model_dump_json(), "utf-8")
    return folder


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).uniform(-1000, 500, (20, 22, 18)).astype(np.float32)
    write_image(tmp_path / "ct.nii.gz", Volume(values, from_matvec(3.0 * np.eye(3), (-30, -30, -30))))
    return tmp_path / "ct.nii.gz"


Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line, which shall end with a code and say something in its log; return what it prints."""

    def call(*arguments: object, code: int = 0, says: str = "", obj: Any = None) -> str:
        monkeypatch.setattr("sys.argv", ["crossmodalnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.run(cli.make_app(), obj)
        printed, log = capsys.readouterr()
        assert (end.value.code or 0) == code, log
        assert says in log
        return printed

    return call


def test_predict_ct_alone(model: Path, ct: Path, run: Run) -> None:
    arguments = ("--model", model, "--ct", ct, "--box", BOX, "--out", ct.parent / "out", "--json")
    printed = run("predict", *arguments, says="Trained on a cohort that is not recorded, 1 training case. ")
    assert json.loads(printed) == json.loads((ct.parent / "out/run.json").read_text("utf-8"))
    assert (ct.parent / "out/labels_ct.nii.gz").exists()


def test_cohort(model: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "t.csv").write_text("patient,ct\na,none.nii.gz\n", "utf-8")
    arguments = ("predict", "--model", model, "--cohort", tmp_path / "t.csv", "--out", tmp_path / "out")
    run(*arguments, code=3, says="1 of 1 patients were not segmented")
    run(*arguments, "--workers", 2, code=2, says="need a clone of the repository")
    workers_of_a_clone = Mock(return_value=[])
    run(*arguments, "--workers", 2, obj=workers_of_a_clone)
    [models, workers, scheduler, tasks] = workers_of_a_clone.call_args.args
    assert ([*models], workers, scheduler) == ([model], 2, None)
    assert [task.out for task in tasks] == [tmp_path / "out/a"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "give --ct, --mr or both"),
        (("--ct", "CT", "--labels", "mmwh"), 2, "got mmwh; did you mean mmwhs?"),
        (("--ct", "CT", "--series", "3"), 2, "--series chooses in a folder or zip archive of DICOM"),
        (("--ct", "CT", "--box", "1 2 3"), 2, "--box must be six numbers"),
        (("--ct", "CT", "--cohort", "t.csv"), 2, "--cohort replaces"),
        (("--cohort", "t.csv", "--json"), 2, "--json prints the record of one patient"),
        (("--ct", "CT", "--model", "MODEL", "--model", "MODEL"), 3, "is the same model as"),
        (("--ct", "CT", "--device", "abacus"), 2, "cuda (cuda: the GPU), got abacus"),
        (("--ct", "nowhere.nii.gz", "--box", BOX), 3, "nowhere.nii.gz: cannot be read"),
        (("--ct", "CT"), 3, "has no atlases to find the heart with: give the heart ROI"),
        (("--ct", "CT", "--box", "500 500 500 600 600 600"), 3, "outside of the scan, which reaches from"),
        (("--ct", "CT", "--mr", "CT", "--box", BOX), 3, "the same scan"),
        (("--ct", "CT", "--mr", "CT", "--box", BOX), 3, "mr_likeness is null): export it again"),
        (("--ct", "CT", "--box", BOX, "--out", "CT/out"), 4, "cannot be written"),
        (("--ct", "CT", "--model", "nothing"), 3, "nothing/card.json not found: a model is a folder"),
    ],
)
def test_mistakes(model: Path, ct: Path, run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    given = [argument.replace("CT", str(ct)).replace("MODEL", str(model)) for argument in arguments]
    defaults = {"--model": model, "--out": ct.parent / "out"}
    more = [part for name, value in defaults.items() if name not in given for part in (name, value)]
    run("predict", *given, *more, code=code, says=says)
    assert not (ct.parent / "out").exists()


@pytest.mark.parametrize("is_packed", [False, True])
def test_scans_that_the_card_excludes_are_rejected_before_the_model_is_loaded(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, is_packed: bool
) -> None:
    monkeypatch.setitem(sys.modules, "crossmodalnet.inference.patients", None)  # its import would fail
    card = tmp_path / CARD
    card.write_text('{"network": {"streams": "both"}, "train": {"modality_dropout": 0}}', "utf-8")
    model = tmp_path / "model.zip" if is_packed else tmp_path
    if is_packed:
        with ZipFile(model, "w") as archive:
            archive.write(card, CARD)
    arguments = ("predict", "--model", model, "--out", tmp_path / "out")
    run(*arguments, "--mr", card, code=3, says="this model segments CT + MR, got MR")
    run(*arguments, "--mr", card, "--ct", card, code=4, says="crossmodalnet.inference.patients")
    run(*arguments[:2], tmp_path.parent, *arguments[3:], "--ct", card, code=3, says="card.json not found (is it ")


def test_models_show(model: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("models", model)
    for text in ("resenc_unet", "CT + MR or CT or MR", "not recorded", "1 for training, 1 for", "0.500", "needs --box"):
        assert text in shown
    monkeypatch.chdir(tmp_path)
    run("models", code=3)
    (tmp_path / "card.json").write_text("{}", "utf-8")
    run("models", "show", tmp_path, code=3)


def test_models_pack(model: Path, ct: Path, run: Run) -> None:
    packed = ct.parent / "heart.zip"
    run("models", "pack", model, packed)
    assert "resenc_unet" in run("models", "show", packed)
    records = []
    for name, path in (("a", model), ("b", packed)):
        run("predict", "--model", path, "--ct", ct, "--box", BOX, "--out", ct.parent / name)
        record = json.loads((ct.parent / name / "run.json").read_text("utf-8"))
        records.append((record["made_from"], record["volumes_ml"]))
    assert records[0] == records[1]


def test_models_pack_rejects_damaged_models_and_other_files(model: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / CARD).write_bytes((model / CARD).read_bytes())
    run("models", "pack", tmp_path, tmp_path / "x.zip", code=3, says="weights.safetensors not found")
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    run("models", "pack", model, tmp_path / "mine.txt", code=2)
    run("models", "pack", tmp_path / "mine.txt", tmp_path / "x.zip", code=2)
    run("models", "pack", model, "/proc/x.zip", code=4)
    arguments = ("--model", tmp_path / "mine.txt", "--ct", tmp_path / CARD, "--out", "b")
    run("predict", *arguments, code=3, says="mine.txt is no packed model")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("damaged"), 3),
        (ModuleNotFoundError("No module named 'dask'"), 4),
        (OSError(28, "No space left on device"), 4),
        (SystemExit(143), 143),
    ],
)
def test_exit_codes(error: BaseException, code: int, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def predict() -> None:
        raise error

    monkeypatch.setattr(cli, "predict", predict)
    run("predict", code=code)


@pytest.mark.parametrize("has_stages", [True, False])
def test_main_has_the_stages_in_a_clone(
    has_stages: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["crossmodalnet", "--help"])
    if not has_stages:
        monkeypatch.setitem(sys.modules, "stages", None)
        monkeypatch.delitem(sys.modules, "stages.app", raising=False)
    with pytest.raises(SystemExit):
        cli.main()
    shown = capsys.readouterr().out
    assert "predict" in shown
    assert ("evaluate" in shown) == has_stages
