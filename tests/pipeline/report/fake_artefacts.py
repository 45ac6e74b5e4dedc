"""A small, well-formed set of everything that the report reads: ellipsoid hearts, made-up scores."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from crossmodalnet.imaging.nifti import write_image, write_label_map
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.comparison.compare import compare, write_comparison
from pipeline.comparison.conditions import read_conditions
from pipeline.comparison.scores import runs_of
from pipeline.config.sections import CompareConfig
from pipeline.evaluation.profile import Profile, Spread, write_profile
from pipeline.evaluation.score_cases import MISREGISTRATION_COLUMNS
from pipeline.training.tuning import TrialResult
from tests.pipeline.report.fake_audit import make_audit

# centre and radii, mm, RAS: the myocardium is painted before the ventricle that it surrounds
ELLIPSOIDS = (
    (5, (-20, 5, -15), (29, 27, 36)),
    (2, (18, 25, -15), (27, 20, 36)),
    (1, (-20, 5, -15), (19, 17, 27)),
    (3, (-12, -32, 22), (22, 15, 20)),
    (4, (34, -10, 18), (19, 18, 21)),
    (6, (8, 2, 38), (11, 11, 26)),
    (7, (-14, 20, 40), (11, 12, 20)),
)
CT_HU = np.array([20.0, 330, 290, 310, 270, 110, 350, 300])
MR_VALUES = np.array([120.0, 420, 380, 400, 360, 210, 440, 350])
TEST_PAIRS = [f"ct_10{i:02d}+mr_10{i + 3:02d}" for i in range(1, 6)]
METRICS = ("dice", "iou", "hd95_mm", "assd_mm", "nsd", "betti_error")
STREAMS = ("crossmodalnet-ct_only", "crossmodalnet-mr_only")
# What stage `audit` checks of networks other than ours: of the first of them something, of the others nothing.
OTHERS_GROUPS = ("balancing", "generalisation", "robustness")

SHIFTS = (0.0, 5.0, 10.0, 15.0)
# Dice on top of the pair's, by view.
CHANGES = {"ct_alone": -0.03, "mr_alone": -0.06}


def labels(grid: Grid, shift_mm: tuple[float, ...] = (0, 0, 0), scale: float = 1.0) -> NDArray[np.uint8]:
    points = grid.to_world(np.indices(grid.shape).reshape(3, -1))
    out = np.zeros(points.shape[1], np.uint8)
    for index, centre, radii in ELLIPSOIDS:
        offset = points - (np.array(centre) + shift_mm)[:, None]
        out[((offset / (scale * np.array(radii)[:, None])) ** 2).sum(axis=0) < 1] = index
    return out.reshape(grid.shape)


def make_grid(shape: tuple[int, int, int], spacing_mm: float) -> Grid:
    """LPS voxel order, a little oblique, as patients come."""
    angle = 0.08
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-spacing_mm, -spacing_mm, spacing_mm])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) / 2)
    return Grid(shape, affine)


def make_artefacts(
    top: Path,
    *,
    shape: tuple[int, int, int] = (44, 44, 40),
    spacing_mm: float = 4.0,
    models: tuple[str, ...] = ("crossmodalnet",),
    ablations: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0,),
) -> None:
    """Write the artefacts below `top`; the first five pairs are test pairs.

    CrossModalNet can do without a modality, and all networks of two modalities were displaced.
    """
    split = {
        "train": ["ct_1011+mr_1011", "ct_1012+mr_1012"],
        "validation": ["ct_1013+mr_1013"],
        "test": TEST_PAIRS,
    }
    entries = {
        role: [{"pair": pair, "ct": pair.split("+")[0], "mr": pair.split("+")[1]} for pair in pairs]
        for role, pairs in split.items()
    }
    _write_json(top / "data/split.json", {**entries, "folds": 1, "fold": 0})
    (top / "params.yaml").write_text(
        f"models: [{', '.join(models)}]\nablations: [{', '.join(ablations)}]\n"
        f"seeds: [{', '.join(map(str, seeds))}]\ndata:\n  source: phantom # <b>where</b>\n"
    )
    _quality_control(top, split)
    grid = make_grid(shape, spacing_mm)
    for number, pair in enumerate(TEST_PAIRS):
        _images(top, pair, grid, number, models, seeds[0])
    variants = tuple(f"crossmodalnet-{ablation}" for ablation in ablations)
    tables = {}
    for place, name in enumerate((*models, *variants, "atlas")):
        quality = 0.9 - 0.3 * (name == "atlas") - 0.011 * ((5 * place + 2) % 7)
        runs = {0: name} if name == "atlas" else {seed: f"{name}/seed{seed}" for seed in seeds}
        scores = {seed: _scores(top, run, quality, 10 * place + seed) for seed, run in runs.items()}
        tables[name] = pd.concat(table.assign(seed=seed) for seed, table in scores.items())
    for place, name in enumerate(models):
        for seed in seeds:
            _training(top, name, place, seed)
        for lr, dice in ((5e-4, 0.79), (1e-3, 0.8), (2e-3, 0.78)):
            _write_json(top / f"tuning/{name}/{lr}.json", asdict(TrialResult(name, lr, dice, 10)))
        make_audit(top, name, None if name == "crossmodalnet" else OTHERS_GROUPS if place == 1 else ())
    for place, name in enumerate((*models, *variants)):
        _profile(top / f"profile/{name}.json", place if name in models else 0.6 - place)
    runs = runs_of(top / "evaluation", models, ablations, seeds)
    for place, (name, folders) in enumerate(runs.items()):
        for folder in folders.values() if name not in ("atlas", *STREAMS) else ():
            make_misregistration(folder, place)
            if name == "crossmodalnet":
                make_modalities(folder)
    found = compare(tables, models[0], CompareConfig(bootstrap_samples=100), conditions=read_conditions(runs))
    (top / "comparison").mkdir()
    write_comparison(top / "comparison", found)


def _images(top: Path, pair: str, grid: Grid, number: int, models: tuple[str, ...], seed: int) -> None:
    folder, truth = top / f"data/registered/{pair}", labels(grid)
    for name, values in (("ct", CT_HU), ("mr", MR_VALUES)):
        write_image(folder / f"{name}.nii.gz", Volume(values[truth].astype(np.float32), grid.affine))
    write_label_map(folder / "ct_label.nii.gz", Volume(truth, grid.affine))
    for place, name in enumerate((*models, "atlas")):
        shift = (1.0 + number, -1.0 - 3.0 * (name == "atlas"), 1.0 + place)
        predicted = labels(grid, shift, 0.97)
        run = name if name == "atlas" else f"{name}/seed{seed}"
        write_label_map(top / f"evaluation/{run}/predictions/{pair}.nii.gz", Volume(predicted, grid.affine))


def _scores(top: Path, run: str, quality: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng([7, seed])
    rows = []
    for number, pair in enumerate(TEST_PAIRS):
        for structure in ABBREVIATIONS:
            dice = float(np.clip(quality - 0.01 * number + rng.normal(0, 0.015), 0, 1))
            betti = int(10 * (1 - dice))
            scores = (dice, dice / (2 - dice), 40 * (1 - dice), 9 * (1 - dice), min(1, dice + 0.03), betti)
            missed = (number, structure) == (0, "PA")
            rows.append((pair, structure, *scores, missed, False, 0))
    cases = pd.DataFrame(rows, columns=["pair", "structure", *METRICS, "missed", "undefined", "stray"])
    folder = top / "evaluation" / run
    folder.mkdir(parents=True, exist_ok=True)
    cases.to_csv(folder / "cases.csv", index=False)
    _write_json(top / f"metrics/{run}.json", {"missed": 1})
    return cases


def _profile(path: Path, place: float) -> None:
    step = 0.8 * 1.11**place
    profile = Profile(
        parameters=int(3e6 * 1.2**place), flops=int(2e10 * 1.2**place),
        step_seconds=Spread(step, step - 0.02, step + 0.04), step_ratio=Spread(4 * step, 3.9 * step, 4.2 * step),
        step_memory_mb=900.5 + 100 * place, inference_seconds=Spread(0.4, 0.38, 0.45),
        inference_ratio=Spread(3.0, 2.9, 3.2), inference_memory_mb=400.0, reference_seconds=0.25,
        reference_inference_seconds=0.13, repetitions=5, device="a processor", threads=2, batch_size=2,
        patch_size=(48, 48, 48), case_size=(48, 48, 48),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_profile(path, profile)


def _training(top: Path, name: str, place: int, seed: int) -> None:
    epochs = np.arange(1, 31)
    dice, ce = 0.9 * np.exp(-epochs / 8) + 0.1, 1.8 * np.exp(-epochs / 6) + 0.08
    validation = 0.88 - 0.01 * place - 0.7 * np.exp(-epochs / (7 + seed))
    curve = pd.DataFrame({
        "epoch": epochs, "loss": (dice + ce) / 2, "loss_dice": dice, "loss_ce": ce,
        "weight_dice": 0.5, "weight_ce": 0.5, "lr": 1e-3 / epochs,
        "val_dice": validation, "seconds": 6.0, "samples_per_second": 2.2, "peak_memory_mb": 1500.0,
    })  # fmt: skip
    path = top / f"curves/{name}/seed{seed}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    curve.to_csv(path, index=False)
    _write_json(top / f"evaluation/{name}/seed{seed}/card.json", {
        "name": name, "builder": name, "seed": seed, "network": {"channels": 24}, "best_epoch": 27,
        "patch_size": [48, 48, 48], "spacing_mm": [3.5, 3.5, 3.5], "size": [48, 48, 48],
        "ct_window_hu": [-200.0, 600.0], "mr_percentiles": [0.5, 99.5],
        "train": {
            "budget": "epochs", "epochs": 30, "seconds": 240.0, "samples_per_case": 2, "batch_size": 2,
            "lr": 1e-3, "schedule": "cosine",
        },
        "losses": {
            "objectives": ["dice", "ce"], "balancing": "paper", "alpha": 0.5, "deep_supervision": True,
        },
        "augment": {"enabled": True}, "versions": {"python": "3.11.2", "torch": "2.15.0"},
        "data_fingerprint": "0123456789abcdef", "training_pairs": ["a+b", "c+d"], "validation_pairs": ["e+f"],
    })  # fmt: skip


def _quality_control(top: Path, split: dict[str, list[str]]) -> None:
    pairs = [(pair, role) for role, members in split.items() for pair in members]
    table = pd.DataFrame(pairs, columns=["pair", "role"]).assign(
        attempts=1, initialisation="centre of mass", mi_before=0.21, mi_after=0.63, label_dice=0.8123,
        negative_jacobian_share=0.0004, largest_displacement_mm=17.32, inverse_error_mm=0.04,
        shared_view=0.87, seconds=11.2, warning="",
    )  # fmt: skip
    table.loc[table["role"] == "test", "label_dice"] = np.nan
    folder = top / "data/registration_qc"
    (folder / "checkerboards").mkdir(parents=True)
    table.to_csv(folder / "pairs.csv", index=False)
    for pair, _ in pairs:
        squares = np.kron(np.indices((6, 18)).sum(axis=0) % 2, np.ones((40, 40)))
        Image.fromarray((60 + 120 * squares).astype(np.uint8)).save(folder / f"checkerboards/{pair}.png")
    cut = {f"cut_{name}": 0 for name in ABBREVIATIONS}
    crop = table[["pair", "role"]].assign(box_mm="-50.0 -47.0 -51.0 : 53.0 45.0 64.0", overflow_mm=0.0, **cut)
    crop.to_csv(top / "data/crop_qc.csv", index=False)


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def make_misregistration(run: Path, place: int) -> None:
    """Write how the Dice of a run's pairs falls, from method to method faster."""
    dice = pd.read_csv(run / "cases.csv").groupby("pair")["dice"].mean()
    slope = 0.004 + 0.003 * ((3 * place + 1) % 5)
    rows = [
        (pair, shift, shift / 1.5, start - slope * shift * (1 + 0.02 * number))
        for number, (pair, start) in enumerate(dice.items())
        for shift in SHIFTS
    ]
    table = pd.DataFrame(rows, columns=list(MISREGISTRATION_COLUMNS))
    table.to_csv(run / "misregistration.csv", index=False)


def make_modalities(run: Path) -> None:
    """Write the scores of a run's pairs with one modality missing."""
    cases = pd.read_csv(run / "cases.csv")
    for view, change in CHANGES.items():
        (run / view).mkdir()
        dice = np.clip(cases["dice"] + change, 0, 1)
        table = cases.assign(dice=dice, iou=dice / (2 - dice), hd95_mm=cases["hd95_mm"] - 40 * change)
        table.to_csv(run / view / "cases.csv", index=False)
