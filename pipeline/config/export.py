"""Parameters of the export stage."""

from pydantic import Field

from crossmodalnet.config import Config


class ExportConfig(Config):
    """Section `export`."""

    atlases: bool = Field(
        True,
        description="coarse images of the training subjects that find the heart are part of an exported model; "
        "false: they are left out, and `predict` needs --box",
    )
