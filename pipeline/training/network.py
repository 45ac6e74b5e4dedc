"""Parameters of the networks: section `network`, one subsection per network."""

from typing import Annotated, Any, Literal

from pydantic import Field

from crossmodalnet import CrossModalNetConfig
from pipeline.common.params import IntTriple, Section

# The library has the defaults. They come through its front door, by which no stage depends on the network's code: what
# a stage depends on is the values, and these stand in params.yaml.
DEFAULTS = CrossModalNetConfig()

# YAML has lists only; the elements stay strict.
Count = Annotated[int, Field(ge=1)]
Levels = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
Window = Annotated[tuple[Count, Count, Count], Field(strict=False)]
Windows = Annotated[tuple[Window | None, ...], Field(strict=False, min_length=1)]


class NetworkSection(Section):
    """What the sections of all networks have."""

    lr: float | None = Field(None, gt=0, description="learning rate of this network; null: train.lr")

    @property
    def offset_rate(self) -> float:
        """Learning rate of deformable offsets over the network's; only ours has any."""
        return 1.0

    def options(self) -> dict[str, Any]:
        """What the network's builder takes."""
        return self.model_dump(exclude={"lr", "offset_lr_factor"})


class CrossModalNetParams(NetworkSection):
    """Section `network.crossmodalnet`; lists have one entry per level, finest first."""

    streams: Literal["both", "ct", "mr"] = Field(
        DEFAULTS.streams,
        description="streams of the network; both: the paper; ct or mr: one stream alone, without cross attention",
    )
    channels: int = Field(
        DEFAULTS.channels,
        ge=1,
        description="channels of each stream at the finest level of tokens, doubled at each next one",
    )
    depths: Levels = Field(
        DEFAULTS.depths,
        description="layers per level, each a plain and a shifted Swin block and a Cross Transformer block",
    )
    heads: Levels = Field(
        DEFAULTS.heads, description="attention heads per level; divide the channels of the level"
    )
    patch_embedding: IntTriple = Field(
        DEFAULTS.patch_embedding, description="voxels per token and axis at the finest level"
    )
    window: Window | None = Field(
        DEFAULTS.window,
        description="window of the Swin blocks, tokens per axis; null: at each level the one of at most 7 that pads "
        "its map least",
    )
    swin: bool = Field(DEFAULTS.swin, description="Swin blocks in every layer; false: an ablation")
    cross: bool = Field(
        DEFAULTS.cross,
        description="Cross Transformer blocks in every layer; false: the streams meet in the head alone",
    )
    cross_window: Windows | None = Field(
        DEFAULTS.cross_window,
        description="window of the cross attention per level, of which null is over all tokens; null for all: chosen "
        "as `window` is, and over all tokens at the deepest level",
    )
    values: Literal["b", "a"] = Field(
        DEFAULTS.values,
        description="values of Eq. 4; b: from the queries' stream, as printed; a: from the keys' stream, as usual",
    )
    similarity: Literal["dot", "cosine"] = Field(
        DEFAULTS.similarity,
        description="similarity of queries and keys; dot: the paper; cosine: makes Theorem 2.1.2 (scaling) true",
    )
    refines: Literal["keys", "queries"] = Field(
        DEFAULTS.refines,
        description="stream that a cross block refines; keys: the first argument of Eq. 3, as printed; "
        "queries: the one that asks, as is usual",
    )
    residual: Literal["paper", "standard"] = Field(
        DEFAULTS.residual,
        description="residual form of the blocks; paper: MLP(LN(A + F)) + F, as printed in Eq. 2; "
        "standard: the usual pre-norm block",
    )
    deformable: bool = Field(
        DEFAULTS.deformable, description="deformable operator (Eq. 7) on what the queries attend to"
    )
    offsets: Literal["static", "predicted"] = Field(
        DEFAULTS.offsets,
        description="origin of the offsets; static: 3 K D H W parameters, tied to the patch size, as in the paper; "
        "predicted: from the features, any size",
    )
    num_points: Levels = Field(DEFAULTS.num_points, description="K of Eq. 7 per level: samples per location")
    max_offset: float = Field(
        DEFAULTS.max_offset, gt=0, description="bound on the offsets, tokens of the level"
    )
    offset_lr_factor: float = Field(
        0.1, gt=0, description="learning rate of the offsets over the network's, as in Deformable DETR"
    )
    mlp_ratio: float = Field(
        DEFAULTS.mlp_ratio, gt=0, description="hidden width of the MLPs over their channels"
    )
    drop_path: float = Field(
        DEFAULTS.drop_path, ge=0, lt=1, description="stochastic depth, rising to this at the deepest level"
    )
    position: Literal["none", "sincos"] = Field(
        DEFAULTS.position,
        description="position added to the embedded tokens; sincos: absolute 3-D position, without parameters",
    )
    stem: Literal["linear", "conv"] = Field(
        DEFAULTS.stem,
        description="way from voxels to tokens and back; linear: patch embedding and expanding alone, as in the paper; "
        "conv: residual convolutions from full resolution down to the tokens, joined again on the way up",
    )
    stem_channels: Levels = Field(
        DEFAULTS.stem_channels,
        description="channels per stream of the maps finer than the tokens, for stem: conv, finest first; the last "
        "entry serves further ones",
    )
    joins: Literal["linear", "conv"] = Field(
        DEFAULTS.joins,
        description="way between levels and at the skips; linear: patch merging and expanding, as in the paper; conv: "
        "residual convolutions",
    )
    head_channels: int = Field(
        DEFAULTS.head_channels,
        ge=1,
        description="features per voxel before the classes, twice as many at each coarser map on the way up",
    )
    cross_scale: float = Field(
        DEFAULTS.cross_scale,
        gt=0,
        description="first scale of the residual branch of Cross Transformer blocks; small, the streams meet slowly",
    )
    checkpointing: bool = Field(
        DEFAULTS.checkpointing,
        description="activations are computed anew in the backward pass: less memory, slower",
    )

    @property
    def offset_rate(self) -> float:
        """Learning rate of deformable offsets over the network's."""
        return self.offset_lr_factor
