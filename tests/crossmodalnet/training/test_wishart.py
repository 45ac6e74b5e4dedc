import numpy as np
import pytest

from crossmodalnet.training.cmif import log_det_bias


def test_bias_of_the_log_determinant_by_simulation():
    rng = np.random.default_rng(0)
    found = [np.linalg.slogdet(np.cov(rng.standard_normal((3, 9))))[1] for _ in range(20000)]
    assert log_det_bias(3, 8) == pytest.approx(np.mean(found), abs=0.03)
    assert log_det_bias(1, 10**7) == pytest.approx(0, abs=1e-6)
