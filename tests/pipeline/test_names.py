import pytest

from pipeline.names import ABLATION_TITLES, PARTS, TITLES, method_of, short_title_of, title_of
from pipeline.params.ablations import ABLATIONS
from pipeline.params.networks import NETWORKS


def test_every_network_and_ablation_has_its_title() -> None:
    assert set(TITLES) == {*NETWORKS, "atlas", *map(method_of, ABLATIONS)}
    assert set(ABLATION_TITLES) == set(PARTS) == set(ABLATIONS)


@pytest.mark.parametrize(
    ("name", "title", "short"),
    [
        ("resenc_unet", "Residual-encoder U-Net (nnU-Net)", "ResEnc U-Net"),
        ("crossmodalnet-ct_only", "CrossModalNet (CT only)", "CrossModalNet (CT only)"),
        ("mine", "mine", "mine"),
    ],
)
def test_titles(name: str, title: str, short: str) -> None:
    assert (title_of(name), short_title_of(name)) == (title, short)
