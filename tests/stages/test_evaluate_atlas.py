import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.imaging.nifti import read_label_map, write_label_map
from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.samples import is_missing
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.io.outputs import write_json
from pipeline.evaluation import evaluate_cases
from pipeline.preparation.cases import CroppedCase, write_cropped
from pipeline.training import checkpoint as model_folder
from pipeline.training.checkpoint import candidate_file
from stages import atlas, evaluate

NATIVE = Grid((40, 36, 25), np.array([[-1.5, 0, 0, 30], [0, -1.5, 0, 27], [0, 0, 2, -25], [0, 0, 0, 1]]))
WORKING = Grid((20, 18, 16), np.array([[3.0, 0, 0, -29], [0, 3, 0, -26], [0, 0, 3, -24], [0, 0, 0, 1]]))
Load = Callable[..., None]
MODEL = Path("models/mine/seed0")


class FromBrightness(nn.Module):
    """Logits of a network for which CT brightness is the class over 10 and, without CT, MR brightness that over 7."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, image: Tensor) -> Tensor:
        ct, mr = image[:, 0] * self.factor, image[:, 1] * self.factor
        seen = torch.where(is_missing(image)[:, 0, None, None, None], 7 * mr, 10 * ct)
        return torch.stack([-2 * (seen - index) ** 2 for index in range(8)], dim=1)


def heart(grid: Grid, shift_mm: float = 0.0) -> Volume:
    """Seven slabs along x, 6 mm thick, all with 30 mm sides."""
    x, y, z = grid.to_world(np.indices(grid.shape).reshape(3, -1))
    index = np.floor((x - shift_mm + 21) / 6) + 1
    inside = (index >= 1) & (index <= 7) & (abs(y) < 15) & (abs(z) < 15)
    return Volume(np.where(inside, index, 0).astype(np.uint8).reshape(grid.shape), grid.affine)


def brightness(label: Volume, offset: float = 0.0) -> Volume:
    return Volume(label.data.astype(np.float32) * 10 + offset, label.affine)


# What the stage reads of a model card.
CARD = {
    "patch_size": (16, 16, 16), "intensity": Intensity((0.0, 100.0), (0.0, 100.0)), "adaptation": None,
    "builder": "crossmodalnet", "network": {}, "train": {},
}  # fmt: skip


def metrics() -> dict[str, float]:
    return dict(json.loads(Path("metrics/mine/seed0.json").read_text("utf-8")))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Have the stage find a network whose card has these changes; `others` are found under other names."""

    def find(others: Mapping[str, nn.Module] = MappingProxyType({}), **changes: Any) -> None:
        def load_model(folder: Path, weights: str = "weights.safetensors") -> SimpleNamespace:
            assert folder == MODEL
            network = others.get(weights, FromBrightness())
            return SimpleNamespace(network=network, card=SimpleNamespace(**CARD | changes))

        monkeypatch.setattr(model_folder, "load_model", load_model)
        monkeypatch.setattr(evaluate_cases, "load_model", load_model)

    return find


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Load) -> list[str]:
    """Two test pairs and others, registered and cropped, and a model; gives the names of the test pairs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    Path("params.yaml").write_text("evaluate: {bootstrap_samples: 200, device: cpu}\n")
    Path("data/cropped").mkdir(parents=True)
    roles = {"train": ["a+b"], "validation": ["c+d"], "test": ["e+f", "g+h"]}
    split = {role: [{"pair": name, "ct": name[0], "mr": name[2]} for name in roles[role]] for role in roles}
    write_json(Path("data/split.json"), {**split, "folds": 1, "fold": 0})
    for name in roles["test"]:
        write_label_map(Path("data/registered", name, "ct_label.nii.gz"), heart(NATIVE))
        write_label_map(Path("data/registered", name, "mr_label.nii.gz"), heart(NATIVE, shift_mm=3))
        image, label = brightness(heart(WORKING)), heart(WORKING)
        write_cropped(Path("data/cropped", name), CroppedCase(name, image, image, label, NATIVE))
    MODEL.mkdir(parents=True)
    (MODEL / "card.json").write_text("{}", "utf-8")
    load()
    return roles["test"]


def test_evaluate_writes_native_predictions_tables_and_metrics(project: list[str]) -> None:
    evaluate.main("mine")
    assert metrics()["dice"] > 0.8  # 6 mm slabs on 3 mm voxels, restored at 1.5 mm
    assert metrics()["missed"] == 0
    for name in project:
        found = read_label_map(Path("evaluation/mine/seed0/predictions", f"{name}.nii.gz"))
        assert found.grid.same_as(NATIVE)
        nearest = resample(heart(WORKING), NATIVE, "nearest")
        assert (found.data == nearest.data).mean() > 0.95
    cases = pd.read_csv("evaluation/mine/seed0/cases.csv")
    assert sorted(set(cases["pair"])) == project
    moved = pd.read_csv("evaluation/mine/seed0/misregistration.csv")
    assert moved.groupby("pair")["moved_mm"].apply(list).to_dict() == {p: [0, 5, 10, 15] for p in project}
    assert (moved["dice"] == 1).all()  # the network looks at CT alone
    assert {file.name for file in Path("evaluation").iterdir()} == {"mine"}


def written() -> dict[Path, bytes]:
    files = [path for top in ("evaluation", "metrics") for path in Path(top).rglob("*") if path.is_file()]
    return {file: file.read_bytes() for file in files}


def test_killed_evaluation_resumes_bit_exactly(project: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate.main("mine")
    undisturbed = written()
    segmented: list[str] = []
    kills_at = [1]
    whole = evaluate_cases.predict_labels

    def predict_labels(model: Any, case: CroppedCase, *others: Any) -> Volume:
        if [len(segmented)] == kills_at:
            kills_at.clear()
            raise KeyboardInterrupt
        segmented.append(case.name)
        return whole(model, case, *others)

    monkeypatch.setattr(evaluate_cases, "predict_labels", predict_labels)
    with pytest.raises(KeyboardInterrupt):
        evaluate.main("mine")
    evaluate.main("mine")
    assert sorted(segmented) == project
    assert written() == undisturbed
    assert not list(Path(".work/evaluate").iterdir())


def test_modality_dropout_is_scored_from_either_alone(project: list[str], load: Load) -> None:
    label, shifted = heart(WORKING), heart(WORKING, shift_mm=3)  # the MR's label lies 3 mm aside too
    for name in project:
        case = CroppedCase(name, brightness(label), brightness(shifted, 10), label, NATIVE)
        write_cropped(Path("data/cropped", name), case)
    load(train={"modality_dropout": 0.3})
    evaluate.main("mine")
    assert metrics()["ct_alone"] == metrics()["dice"]
    assert metrics()["mr_alone"] > 0.8  # against the CT's label it would be about 0.5
    folder = Path("evaluation/mine/seed0/mr_alone")
    names = {path.name for path in folder.iterdir()}
    assert names == {"cases.csv", "intervals.csv", "predictions"}
    found = read_label_map(folder / "predictions" / f"{project[0]}.nii.gz")
    nearest = resample(shifted, NATIVE, "nearest")
    assert (found.data == nearest.data).mean() > 0.95


@pytest.mark.parametrize(
    ("shifts", "changes"),
    [
        ([], {"train": {"modality_dropout": 0.0}}),
        ([0.0, 5.0], {"train": {"modality_dropout": 0.3}, "network": {"streams": "ct"}}),
        ([0.0, 5.0], {"network": {"streams": "mr"}}),
    ],
)
def test_without_shifts_or_a_second_stream_only_the_pair_is_scored(
    project: list[str], load: Load, shifts: list[float], changes: dict[str, Any]
) -> None:
    evaluation = f"{{bootstrap_samples: 200, device: cpu, misregistration_mm: {shifts}}}"
    Path("params.yaml").write_text(f"evaluate: {evaluation}\n")
    load(**changes)
    evaluate.main("mine")
    assert not {"ct_alone", "mr_alone"} & set(metrics())
    assert not Path("evaluation/mine/seed0/misregistration.csv").exists()


def test_mr_alone_needs_a_label_of_its_own(project: list[str], load: Load) -> None:
    Path("data/registered", project[1], "mr_label.nii.gz").unlink()
    load(train={"modality_dropout": 0.3})
    with pytest.raises(DataError, match=rf"{re.escape(project[1])}: no label map of it is found"):
        evaluate.main("mine")


def test_atlas_scores_the_warped_mr_labels(project: list[str]) -> None:
    atlas.main()
    found = json.loads(Path("metrics/atlas.json").read_text("utf-8"))
    assert {found[key] for key in ("dice", *ABBREVIATIONS)} == {0.5}  # 3 mm of 6 mm thick slabs overlap
    assert (found["miou"], found["hd95_mm"]) == (0.3333, 3)
    warped = Path("data/registered", project[0], "mr_label.nii.gz")
    assert Path("evaluation/atlas/predictions", f"{project[0]}.nii.gz").read_bytes() == warped.read_bytes()


def test_atlas_stops_at_a_missing_label_map_and_leaves_nothing(project: list[str]) -> None:
    Path("data/registered", project[1], "mr_label.nii.gz").unlink()
    with pytest.raises(DataError, match="mr_label"):
        atlas.main()
    assert not Path("metrics/atlas.json").exists()
    assert not list(Path("evaluation").iterdir())


def test_adapted_model_is_scored_in_the_target_domain(project: list[str], load: Load) -> None:
    ct = brightness(heart(WORKING))
    roles: dict[str, list[str]] = {"train": [], "validation": [], "test": ["mr_7", "mr_8"]}
    for name in roles["test"]:
        write_cropped(Path("data/target/target", name), CroppedCase(name, ct, None, None, NATIVE))
    write_label_map(Path("data/target_labels/mr_7/native.nii.gz"), heart(NATIVE))
    write_label_map(Path("data/target_labels/mr_7/label.nii.gz"), heart(WORKING))
    write_json(Path("data/target/domain.json"), {"scenario": "cohort", "source": None, "target": roles})
    for epoch in (1, 4):
        candidate_file(MODEL, epoch).touch()
    sees_no_heart = {"epoch0001.safetensors": FromBrightness(0.0)}
    load(sees_no_heart, adaptation={"variant": None}, best_epoch=4)
    evaluate.main("mine")
    assert metrics()["dice"] > 0.8
    assert metrics()["target_dice"] > 0.8
    cases = pd.read_csv("evaluation/mine/seed0/target/cases.csv")
    assert set(cases["pair"]) == {"mr_7"}  # the other one has no label
    choices = pd.read_csv("evaluation/mine/seed0/target/choices.csv")
    assert choices["epoch"].tolist() == [1, 4]
    assert choices["chosen"].tolist() == [False, True]
    assert choices["target_dice"].tolist() == pytest.approx([0, 1])
