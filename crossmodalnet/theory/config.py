"""Define the options of the audit."""

from typing import ClassVar

from pydantic import Field

from crossmodalnet.config import Config


class AuditConfig(Config):
    """Section `audit`."""

    seed: ClassVar[int] = 0
    device: ClassVar[str] = "auto"
    enabled: bool = Field(True, description="the audit; false: left out, which saves minutes per network")
    tokens_per_case: int = Field(
        400, ge=50, description="maximum number of tokens per case and layer for mutual information"
    )
    components: int = Field(4, ge=1, le=32, description="principal components of each stream for mutual information")
    approximation_steps: int = Field(100, ge=1, description="training steps per network of the approximation study")
    overfit_steps: int = Field(200, ge=10, description="maximum number of training steps to overfit one case")
