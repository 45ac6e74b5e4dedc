"""Parameters of the networks: section `network`, one subsection per network."""

from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.params.base import IntTriple, Section

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
        "both", description="both: the paper; ct or mr: one stream alone, without cross attention"
    )
    channels: int = Field(
        48,
        ge=1,
        description="channels of each stream at the finest level of tokens, doubled at each next one",
    )
    depths: Levels = Field(
        (1, 1),
        description="layers per level, each a plain and a shifted Swin block and a Cross Transformer block",
    )
    heads: Levels = Field((4, 8), description="attention heads per level; divide the channels of the level")
    patch_embedding: IntTriple = Field((4, 4, 4), description="voxels per token and axis at the finest level")
    window: Window | None = Field(
        None,
        description="window of the Swin blocks, tokens per axis; null: at each level the one of at most 7 that pads "
        "its map least",
    )
    swin: bool = Field(True, description="Swin blocks in every layer; false: an ablation")
    cross: bool = Field(
        True, description="false: no Cross Transformer blocks, the streams meet in the head alone"
    )
    cross_window: Windows | None = Field(
        None,
        description="window of the cross attention per level, of which null is over all tokens; null for all: chosen "
        "as `window` is, and over all tokens at the deepest level",
    )
    values: Literal["b", "a"] = Field(
        "b",
        description="of Eq. 4; b: from the queries' stream, as printed; a: from the keys' stream, as usual",
    )
    similarity: Literal["dot", "cosine"] = Field(
        "dot",
        description="of queries and keys; dot: the paper; cosine: makes Theorem 2.1.2 (scaling) true",
    )
    refines: Literal["keys", "queries"] = Field(
        "keys",
        description="which stream a cross block refines; keys: the first argument of Eq. 3, as printed; "
        "queries: the one that asks, as is usual",
    )
    residual: Literal["paper", "standard"] = Field(
        "paper",
        description="paper: MLP(LN(A + F)) + F, as printed in Eq. 2; standard: the usual pre-norm block",
    )
    deformable: bool = Field(True, description="deformable operator (Eq. 7) on what the queries attend to")
    offsets: Literal["static", "predicted"] = Field(
        "static",
        description="static: 3 K D H W parameters, tied to the patch size, as in the paper; "
        "predicted: from the features, any size",
    )
    num_points: Levels = Field((2, 4), description="K of Eq. 7 per level: samples per location")
    max_offset: float = Field(2.0, gt=0, description="bound on the offsets, tokens of the level")
    offset_lr_factor: float = Field(
        0.1, gt=0, description="learning rate of the offsets over the network's, as in Deformable DETR"
    )
    mlp_ratio: float = Field(2.0, gt=0, description="hidden width of the MLPs over their channels")
    drop_path: float = Field(
        0.0, ge=0, lt=1, description="stochastic depth, rising to this at the deepest level"
    )
    position: Literal["none", "sincos"] = Field(
        "sincos", description="added after patch embedding; sincos: absolute 3-D position, without parameters"
    )
    stem: Literal["linear", "conv"] = Field(
        "conv",
        description="way from voxels to tokens and back; linear: patch embedding and expanding alone, as in the paper; "
        "conv: residual convolutions from full resolution down to the tokens, joined again on the way up",
    )
    stem_channels: Levels = Field(
        (8, 24),
        description="channels per stream of the maps finer than the tokens, for stem: conv, finest first; the last "
        "entry serves further ones",
    )
    joins: Literal["linear", "conv"] = Field(
        "conv",
        description="way between levels and at the skips; linear: patch merging and expanding, as in the paper; conv: "
        "residual convolutions",
    )
    head_channels: int = Field(
        16,
        ge=1,
        description="features per voxel before the classes, twice as many at each coarser map on the way up",
    )
    cross_scale: float = Field(
        0.1,
        gt=0,
        description="first scale of the residual branch of Cross Transformer blocks; small, the streams meet slowly",
    )
    checkpointing: bool = Field(
        False, description="recompute activations in the backward pass: less memory, slower"
    )

    @property
    def offset_rate(self) -> float:
        """Learning rate of deformable offsets over the network's."""
        return self.offset_lr_factor
