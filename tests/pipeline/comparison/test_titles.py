import pytest

from crossmodalnet.networks.common.build import DEEPLY_SUPERVISED
from crossmodalnet.training.adaptation.config import TERMS as STRENGTHS
from pipeline.comparison.titles import (
    adapted_title_of,
    short_title_of,
    title_of,
)
from pipeline.config.variants import (
    OURS,
    is_ablation,
    is_adaptation,
)
from pipeline.report.adaptation.figures import TERMS as TERMS_IN_WORDS
from pipeline.report.comparison.policy import DEEPLY_SUPERVISED as DEEPLY_SUPERVISED_IN_WORDS


def test_the_report_has_words_for_what_the_library_has() -> None:
    assert tuple(TERMS_IN_WORDS) == STRENGTHS
    assert {OURS, *DEEPLY_SUPERVISED_IN_WORDS} == DEEPLY_SUPERVISED


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
def test_ablations_and_what_an_adaptation_is_compared_with_are_told_apart(
    name: str, kinds: tuple[bool, bool]
) -> None:
    assert (is_ablation(name), is_adaptation(name)) == kinds


def test_an_adapted_network_is_called_by_the_adaptation() -> None:
    assert adapted_title_of("crossmodalnet") == "JADA"
    assert adapted_title_of("crossmodalnet-marginal_only") == "Marginal alignment alone"
