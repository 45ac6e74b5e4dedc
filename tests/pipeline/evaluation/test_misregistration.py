from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.volume import Volume
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.misregistration import measure_misregistration, misregister, misregistration_means
from pipeline.evaluation.prediction import Evaluator
from pipeline.preparation.cases import CaseSet, CroppedCase, write_cropped
from tests.pipeline.evaluation.conftest import bright_model

SPACING_MM, RADIUS_MM, SIZE = 1.5, 12.0, 40
MODEL = bright_model(1, SIZE)


@pytest.fixture
def cases(tmp_path: Path) -> CaseSet:
    """Two pairs, each a ball in the middle, which is RV."""
    ball = distances() <= RADIUS_MM
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    image = Volume((1 + 99 * ball).astype(np.float32), affine)
    label = Volume(2 * ball.astype(np.uint8), affine)
    for name in ("a", "b"):
        write_cropped(tmp_path / name, CroppedCase(name, image, image, label, image.grid))
    return CaseSet(tmp_path)


def distances() -> np.ndarray:
    grid = np.indices((SIZE,) * 3) - (SIZE - 1) / 2
    return SPACING_MM * np.sqrt((grid**2).sum(axis=0))


def test_dice_falls_as_that_of_two_balls_that_move_apart(cases: CaseSet) -> None:
    params = EvaluateConfig(misregistration_mm=[0.0, 3.0, 6.0], misregistration_degrees=20.0)
    table = measure_misregistration(Evaluator(MODEL, params), cases, ["a", "b"])
    assert table["pair"].tolist() == ["a"] * 3 + ["b"] * 3
    assert table["turned_degrees"].tolist() == [0, 10, 20] * 2
    share = np.array([0.0, 3.0, 6.0]) / RADIUS_MM  # of the radius, by which the centres are apart
    lens = 1 - 3 / 4 * share + share**3 / 16
    assert table["dice"].tolist() == pytest.approx([*lens, *lens], abs=0.01)
    assert table["dice"].iloc[0] == 1


def test_a_pair_moves_in_one_direction_by_every_amount_and_pairs_in_different_ones() -> None:
    ball = torch.from_numpy(np.exp(-((distances() / 6) ** 2)))
    image = torch.stack([ball, ball])
    moves = (("a", 2.0, 4), ("a", 4.0, 4), ("b", 4.0, 4), ("a", 4.0, 5))
    moved = [misregister(image, name, mm, 0.0, seed=seed)[1].numpy() for name, mm, seed in moves]
    near, far, other, reseeded = np.array([ndimage.center_of_mass(mr) for mr in moved]) - (SIZE - 1) / 2
    assert [np.linalg.norm(shift) for shift in (near, far, other)] == pytest.approx([2, 4, 4], abs=0.02)
    assert far == pytest.approx(2 * near, abs=0.02)
    assert np.linalg.norm(far - other) > 0.5
    assert np.linalg.norm(far - reseeded) > 0.5


def test_the_ct_stays_and_without_displacement_so_does_the_mr() -> None:
    image = torch.rand(2, 6, 7, 8)
    assert torch.equal(misregister(image, "a", 2.0, 30.0, seed=0)[0], image[0])
    assert misregister(image, "a", 0.0, 0.0, seed=0) is image


def test_a_case_without_label_is_an_error(cases: CaseSet) -> None:
    image = Volume(np.random.default_rng(0).random((8, 8, 8), np.float32), np.eye(4))
    write_cropped(cases.folder / "c", CroppedCase("c", image, image, None, image.grid))
    with pytest.raises(DataError, match="c: the crop has no label map"):
        measure_misregistration(Evaluator(MODEL, EvaluateConfig()), cases, ["c"])


def test_metrics_are_means_over_pairs_by_shift() -> None:
    rows = [("a", 0.0, 0.0, 0.8), ("b", 0.0, 0.0, 0.9), ("a", 2.5, 5.0, 0.5), ("b", 2.5, 5.0, float("nan"))]
    table = pd.DataFrame(rows, columns=["pair", "moved_mm", "turned_degrees", "dice"])
    assert misregistration_means(table) == {"0mm": 0.85, "2.5mm": 0.5}


@pytest.mark.parametrize("shifts", [[5.0], [0.0, 5.0, 5.0], [0.0, 10.0, 5.0], [0.0, -1.0]])
def test_shifts_ascend_from_nothing(shifts: list[float]) -> None:
    with pytest.raises(ValidationError, match="misregistration_mm"):
        EvaluateConfig(misregistration_mm=shifts)
