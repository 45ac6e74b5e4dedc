"""Hearts far apart and turned in phantoms of different people, a whole chest in the CT: the search finds them."""

import argparse
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.registration import plan_of
from benchmarks.registration_pairs import make_pair
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.ants import prepare_ct, prepare_mr
from crossmodalnet.registration.exhaustive import best_candidates

pytestmark = pytest.mark.stress
HARD: Any = argparse.Namespace(hard=True, spacing=2.5)


def heart(labels: Volume) -> NDArray[np.float64]:
    return labels.grid.to_world(np.array(np.nonzero(labels.data)).mean(axis=1)[:, None])


@pytest.mark.parametrize("number", [10, 12])
def test_two_pairs_that_were_laid_together_wrongly(number: int) -> None:
    ct, ct_labels, mr, mr_labels = make_pair(plan_of(number, HARD))
    (best,) = best_candidates(prepare_ct(ct, 3.0), prepare_mr(mr, 3.0), 1)
    there = best[:3, :3] @ heart(ct_labels) + best[:3, 3:]
    assert np.linalg.norm(there - heart(mr_labels)) < 30
