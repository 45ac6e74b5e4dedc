"""Parameters of the networks: section `network`, one subsection per network."""

from typing import Annotated, Any, Literal

from pydantic import Field

from crossmodalnet import CrossModalNetConfig
from crossmodalnet.config import Config
from pipeline.config.params import option

# The library's options come through its front door, by which no stage depends on the network's code: what a stage
# depends on is the values, and these stand in params.yaml.
# YAML has lists only; the elements stay strict.
Count = Annotated[int, Field(ge=1)]
Levels = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
CountTriple = Annotated[tuple[Count, Count, Count], Field(strict=False)]
Windows = Annotated[tuple[CountTriple | None, ...], Field(strict=False, min_length=1)]


class NetworkSection(Config):
    """What the sections of all networks have."""

    lr: float | None = Field(None, gt=0, description="learning rate of this network; null: train.lr")

    @property
    def offset_rate(self) -> float:
        """Learning rate of deformable offsets over the network's; only ours has any."""
        return 1.0

    def options(self) -> dict[str, Any]:
        """What the network's builder takes."""
        return self.model_dump(exclude={"lr", "offset_lr_factor"})


class CrossModalNetSection(NetworkSection):
    """Section `network.crossmodalnet`; lists have one entry per level, finest first."""

    streams: Literal["both", "ct", "mr"] = option(CrossModalNetConfig, "streams")
    channels: int = option(CrossModalNetConfig, "channels")
    depths: Levels = option(CrossModalNetConfig, "depths")
    heads: Levels = option(CrossModalNetConfig, "heads")
    patch_embedding: CountTriple = option(CrossModalNetConfig, "patch_embedding")
    window: CountTriple | None = option(CrossModalNetConfig, "window")
    swin: bool = option(CrossModalNetConfig, "swin")
    cross: bool = option(CrossModalNetConfig, "cross")
    cross_window: Windows | None = option(CrossModalNetConfig, "cross_window")
    values: Literal["b", "a"] = option(CrossModalNetConfig, "values")
    similarity: Literal["dot", "cosine"] = option(CrossModalNetConfig, "similarity")
    refines: Literal["keys", "queries"] = option(CrossModalNetConfig, "refines")
    residual: Literal["paper", "standard"] = option(CrossModalNetConfig, "residual")
    deformable: bool = option(CrossModalNetConfig, "deformable")
    offsets: Literal["static", "predicted"] = option(CrossModalNetConfig, "offsets")
    num_points: Levels = option(CrossModalNetConfig, "num_points")
    max_offset: float = option(CrossModalNetConfig, "max_offset")
    offset_lr_factor: float = Field(
        0.1, gt=0, description="learning rate of the offsets over the network's, as in Deformable DETR"
    )
    mlp_ratio: float = option(CrossModalNetConfig, "mlp_ratio")
    drop_path: float = option(CrossModalNetConfig, "drop_path")
    position: Literal["none", "sincos"] = option(CrossModalNetConfig, "position")
    stem: Literal["linear", "conv"] = option(CrossModalNetConfig, "stem")
    stem_channels: Levels = option(CrossModalNetConfig, "stem_channels")
    joins: Literal["linear", "conv"] = option(CrossModalNetConfig, "joins")
    head_channels: int = option(CrossModalNetConfig, "head_channels")
    cross_scale: float = option(CrossModalNetConfig, "cross_scale")
    checkpointing: bool = option(CrossModalNetConfig, "checkpointing")

    @property
    def offset_rate(self) -> float:
        """Learning rate of deformable offsets over the network's."""
        return self.offset_lr_factor
