import numpy as np

from pipeline.report.charts import colour_of, marker_of, whisker


def test_every_model_has_its_own_colour_and_marker():
    models = ["a", "b", "c", "d", "e", "f", "g"]
    assert len({colour_of(models, name) for name in (*models, "atlas")}) == 8
    assert len({marker_of(models, name) for name in (*models, "atlas")}) == 8
    more = tuple("abcdefghijklmn")
    assert len({(colour_of(more, name), marker_of(more, name)) for name in more}) == 14


def test_error_bars_are_never_negative():
    np.testing.assert_allclose(whisker([1.0, 2.0], [0.5, 2.1], [1.25, 1.9]), [[0.5, 0], [0.25, 0]])
    np.testing.assert_allclose(whisker(1.0, 0.5, 1.25), [[0.5], [0.25]])
