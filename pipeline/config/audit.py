"""Parameters of the audit stage: how thoroughly the paper's claims are checked."""

from typing import Literal

from pydantic import Field

from crossmodalnet.config import Config
from crossmodalnet.theory.settings import AuditSettings
from pipeline.config.option import option


class AuditConfig(Config):
    """Section `audit`."""

    seed: int = option(AuditSettings, "seed")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that the network runs on; auto: a GPU if there is one"
    )
    num_cases: int = option(AuditSettings, "num_cases")
    tokens_per_case: int = option(AuditSettings, "tokens_per_case")
    components: int = option(AuditSettings, "components")
    neighbours: int = option(AuditSettings, "neighbours")
    approximation_steps: int = option(AuditSettings, "approximation_steps")
    overfit_steps: int = option(AuditSettings, "overfit_steps")
    rademacher_draws: int = option(AuditSettings, "rademacher_draws")
    power_iterations: int = option(AuditSettings, "power_iterations")
    attack_steps: int = option(AuditSettings, "attack_steps")
    attack_radius: float = option(AuditSettings, "attack_radius")
