import numpy as np

from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.viewer import viewer_page
from crossmodalnet.roi.box import Box

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2.0, 0, -25], [0, 0, 2.5, 0], [0, 0, 0, 1]])


def page(labels: np.ndarray) -> str:
    image = np.random.default_rng(0).uniform(-200, 500, labels.shape).astype(np.float32)
    box = Box((-20.0, -20.0, 10.0), (20.0, 20.0, 40.0))
    volumes = Volume(image, AFFINE), Volume(labels, AFFINE)
    return viewer_page(*volumes, Modality.CT, box, title="<b>&p", note="not a medical device")


def test_page_is_self_contained() -> None:
    labels = np.zeros((30, 26, 20), np.uint8)
    labels[10:20, 8:16, 6:12] = 1
    made = page(labels)
    assert "http://" not in made
    assert "https://" not in made
    assert all(structure.name in made and structure.colour in made for structure in STRUCTURES)
    assert "<h1>&lt;b&gt;&amp;p</h1>" in made
    assert "not a medical device" in made


def test_empty_label_map() -> None:
    assert "iframe" in page(np.zeros((30, 26, 20), np.uint8))
