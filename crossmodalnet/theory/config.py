"""Options of the audit: how thoroughly the paper's statements are checked."""

from typing import Literal

from pydantic import Field

from crossmodalnet.config import Config


class AuditConfig(Config):
    """Section `audit`."""

    seed: int = Field(0, ge=0, description="seed of every random draw of the audit")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that the network runs on; auto: a GPU if there is one"
    )
    tokens_per_case: int = Field(
        400, ge=50, description="maximum number of tokens per case and layer for mutual information"
    )
    components: int = Field(
        4, ge=1, le=32, description="principal components of each stream for mutual information"
    )
    approximation_steps: int = Field(
        100, ge=1, description="training steps per network of the approximation study"
    )
    overfit_steps: int = Field(200, ge=10, description="maximum number of training steps to overfit one case")
