from pipeline.config import presets
from pipeline.config.params import Params
from pipeline.config.render import keys, render
from pipeline.runtime.paths import TOP


def test_the_committed_file_is_the_default_preset_and_stays_readable() -> None:
    text = (TOP / "params.yaml").read_text("utf-8")
    assert text == render(Params())
    assert [line for line in text.splitlines() if len(line) > 160] == []
    assert [key.name for key in keys(Params()) if len(key.description) < 8] == []


def test_the_paper_preset_is_the_paper() -> None:
    paper = presets.load("paper")
    train, net = paper.train, paper.network.crossmodalnet
    assert (train.batch_size, train.lr, train.epochs, train.devices) == (32, 1e-5, 100, 8)
    assert paper.crop.roi == "labels"
    assert (net.residual, net.values, net.similarity, net.offsets) == ("paper", "b", "dot", "static")
    assert paper.losses.balancing == "paper"
