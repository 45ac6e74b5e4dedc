import pytest

from pipeline.comparison.titles import adapted_title_of, short_title_of, title_of
from pipeline.config.variants import is_ablation, is_adaptation


@pytest.mark.parametrize(
    ("name", "title", "short"),
    [
        ("resenc_unet", "Residual-encoder U-Net (nnU-Net)", "ResEnc U-Net"),
        ("crossmodalnet-ct_only", "CrossModalNet (CT only)", "CrossModalNet (CT only)"),
        ("crossmodalnet-source_only", "CrossModalNet (source only)", "Source only"),
        ("mine", "mine", "mine"),
    ],
)
def test_titles(name: str, title: str, short: str) -> None:
    assert (title_of(name), short_title_of(name)) == (title, short)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("crossmodalnet-volumes", (False, True)),
        ("crossmodalnet-no_cross", (True, False)),
        ("crossmodalnet", (False, False)),
        ("volumes", (False, False)),
        ("atlas", (False, False)),
    ],
)
def test_ablations_and_variants_of_an_adaptation_differ(name: str, kinds: tuple[bool, bool]) -> None:
    assert (is_ablation(name), is_adaptation(name)) == kinds


def test_an_adapted_network_is_called_jada() -> None:
    assert adapted_title_of("crossmodalnet") == "JADA"
    assert adapted_title_of("crossmodalnet-marginal_only") == "Marginal alignment alone"
