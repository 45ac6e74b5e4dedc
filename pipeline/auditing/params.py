"""Parameters of the audit stage: how thoroughly the paper's claims are checked."""

from typing import Literal

from pydantic import Field

from pipeline.common.params import Section


class AuditParams(Section):
    """Section `audit`."""

    seed: int = Field(0, ge=0, description="seed of every draw of the audit")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that the network runs on; auto: a GPU if there is one"
    )
    num_cases: int = Field(5, ge=1, le=100, description="test pairs that are measured, at most")
    tokens_per_case: int = Field(
        400, ge=50, description="positions drawn per case and layer for mutual information, at most"
    )
    components: int = Field(
        4,
        ge=1,
        le=32,
        description="principal components of each stream whose mutual information is estimated",
    )
    neighbours: int = Field(4, ge=1, le=50, description="k of the k-nearest-neighbour estimator")
    approximation_steps: int = Field(
        100, ge=1, description="training steps per network of the approximation study"
    )
    overfit_steps: int = Field(200, ge=10, description="training steps, at most, to overfit one case")
    rademacher_draws: int = Field(60, ge=2, description="draws of random signs for the Rademacher complexity")
    power_iterations: int = Field(
        6, ge=1, description="power iterations towards the largest singular value of the network's Jacobian"
    )
    attack_steps: int = Field(6, ge=1, description="steps of projected gradient ascent in an attack")
    attack_radius: float = Field(
        1.0,
        gt=0,
        description="largest l2 norm of an attack, over that of Gaussian noise with standard deviation 0.01",
    )
