from typing import get_args

import pytest

from crossmodalnet.networks.common.build import DEEPLY_SUPERVISED
from crossmodalnet.training.adaptation.adapter import TERMS
from pipeline.comparison.titles import (
    ABLATION_TITLES,
    ADAPTATION_TITLES,
    PARTS,
    TITLES,
    adapted_title_of,
    short_title_of,
    title_of,
)
from pipeline.config.network import NETWORKS
from pipeline.config.sections import TERMS as STRENGTHS
from pipeline.config.variants import (
    ABLATIONS,
    ADAPTATION_KEYS,
    ADAPTATIONS,
    OURS,
    Ablation,
    Adaptation,
    is_ablation,
    is_adaptation,
    method_of,
)
from pipeline.report.adaptation.figures import TERMS as TERMS_IN_WORDS
from pipeline.report.comparison.policy import DEEPLY_SUPERVISED as DEEPLY_SUPERVISED_IN_WORDS


def test_every_title_is_of_a_network_an_ablation_or_an_adaptation() -> None:
    """A network without one is called by its name."""
    assert set(TITLES) <= {*NETWORKS, "atlas", *map(method_of, (*ABLATIONS, *ADAPTATIONS))}
    assert set(ABLATION_TITLES) == set(PARTS) == set(ABLATIONS)
    assert set(ADAPTATION_TITLES) == set(ADAPTATIONS)


def test_what_params_yaml_may_list_is_what_there_is() -> None:
    assert get_args(Ablation) == tuple(ABLATIONS)
    assert get_args(Adaptation) == tuple(ADAPTATIONS) == ADAPTATION_KEYS


def test_every_term_has_a_strength_among_the_parameters() -> None:
    assert sorted(TERMS) == sorted(STRENGTHS)


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
        ("crossmodalnet-kernel", (False, True)),
        ("crossmodalnet-no_cross", (True, False)),
        ("crossmodalnet", (False, False)),
        ("kernel", (False, False)),
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
