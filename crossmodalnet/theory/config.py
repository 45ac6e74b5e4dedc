"""Options of the audit: how thoroughly the paper's statements are checked."""

from typing import ClassVar

from pydantic import Field

from crossmodalnet.config import Config


class AuditConfig(Config):
    """Section `audit`."""

    # Seed of every random draw of the audit.
    seed: ClassVar[int] = 0
    # The device that the network runs on: a GPU if there is one.
    device: ClassVar[str] = "auto"
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
