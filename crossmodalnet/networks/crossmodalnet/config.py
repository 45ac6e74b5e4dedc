"""Options of CrossModalNet and their validation."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from crossmodalnet.config import NetworkConfig
from crossmodalnet.networks.common.sizes import Triple, dividing_window, effective_window, strides_to

Values = Literal["b", "a"]
Similarity = Literal["dot", "cosine"]
Refines = Literal["keys", "queries"]
Residual = Literal["paper", "standard"]
Offsets = Literal["static", "predicted"]
Transition = Literal["linear", "conv"]

# `strict=False` accepts YAML's lists; the elements stay strict.
Count = Annotated[int, Field(ge=1)]
Depths = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)]
Levels = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
CountTriple = Annotated[tuple[Count, Count, Count], Field(strict=False)]
Windows = Annotated[tuple[CountTriple | None, ...], Field(strict=False, min_length=1)]

AXES = ("depth", "height", "width")


class CrossModalNetConfig(NetworkConfig):
    """Define section `network.crossmodalnet`; lists have one entry per level, finest first.

    >>> config = CrossModalNetConfig(depths=(1, 1, 1), heads=(2, 4, 8), num_points=(2, 2, 4))
    >>> config.dim(2), config.multiples()
    (192, (16, 16, 16))
    """

    streams: Literal["both", "ct", "mr"] = Field(
        "both", description="image streams; both: as in the paper; ct, mr: one stream without cross attention"
    )
    channels: int = Field(
        48, ge=1, description="channels per stream at the finest token level; doubled at each coarser level"
    )
    depths: Depths = Field(
        (0, 1), description="layers per level: a plain and a shifted Swin block, a Cross Transformer block"
    )
    heads: Levels = Field((4, 8), description="attention heads per level; each must divide the channels of its level")
    patch_embedding: CountTriple = Field((4, 4, 4), description="voxels per token and axis at the finest level")
    window: CountTriple | None = Field(
        None, description="window of the Swin blocks, tokens; null: per level the size of 4 to 7 that pads least"
    )
    swin: bool = Field(True, description="Swin blocks in every layer; false: an ablation")
    cross: bool = Field(
        True, description="Cross Transformer blocks in every layer; false: the streams meet in the head only"
    )
    cross_window: Windows | None = Field(
        None, description="cross-attention windows per level; null in the list: all tokens; null: automatic"
    )
    values: Values = Field(
        "b", description="values of Eq. 4; b: from the queries' stream, as printed; a: from the keys' stream"
    )
    similarity: Similarity = Field(
        "dot", description="similarity of queries and keys; dot: the paper; cosine: makes Theorem 2.1.2 hold"
    )
    refines: Refines = Field(
        "keys", description="stream that a cross block refines; keys: as printed in Eq. 3; queries: the usual form"
    )
    residual: Residual = Field(
        "paper", description="residual form; paper: MLP(LN(A + F)) + F of Eq. 2; standard: pre-norm blocks"
    )
    deformable: bool = Field(True, description="deformable operator (Eq. 7) on the attended features")
    offsets: Offsets = Field(
        "static",
        description="source of the offsets; static: parameters for one patch size; predicted: from features, any size",
    )
    num_points: Levels = Field((2, 4), description="sampling points of the deformable operator per level (K of Eq. 7)")
    max_offset: float = Field(2.0, gt=0, description="bound on the offsets, tokens of the level")
    offset_lr_factor: float = Field(0.1, gt=0, description="learning rate of the offsets relative to the network's")
    mlp_ratio: float = Field(2.0, gt=0, description="hidden width of the MLPs relative to their channels")
    position: Literal["none", "sincos"] = Field(
        "sincos", description="position added to the tokens; none: no position; sincos: fixed 3-D sines and cosines"
    )
    stem: Transition = Field(
        "conv",
        description="voxels to tokens and back; linear: patch embedding, as in the paper; conv: residual convolutions",
    )
    stem_channels: Levels = Field(
        (8, 24), description="channels per stream of the maps finer than the tokens; the last entry repeats"
    )
    transitions: Transition = Field(
        "conv",
        description="transitions and skip fusion; linear: patch merging, as in the paper; conv: residual convolutions",
    )
    head_channels: int = Field(
        16, ge=1, description="features per voxel before the classes; doubled at each coarser map"
    )
    cross_scale: float = Field(
        0.1, gt=0, description="initial scale of the residual branch of Cross Transformer blocks"
    )
    align: bool = Field(
        False, description="move the MR onto the CT, by cross attention over all positions, before the streams"
    )

    @model_validator(mode="after")
    def _levels_agree(self) -> "CrossModalNetConfig":
        levels = len(self.depths)
        for name in ("heads", "cross_window", "num_points"):
            value = getattr(self, name)
            if value is not None and (length := len(value)) != levels:
                raise ValueError(f"{name} must have one entry per level as depths has ({levels}), got {length}")
        for level, num_heads in enumerate(self.heads):
            if self.dim(level) % num_heads:
                raise ValueError(
                    f"heads[{level}] must divide the {self.dim(level)} channels of its level, got {num_heads}"
                )
        if self.position == "sincos" and self.channels % 6:
            raise ValueError(f"channels must be a multiple of 6 for position: sincos, got {self.channels}")
        return self

    @property
    def inputs(self) -> tuple[int, ...]:
        """Return the input channel of each stream: 0 is CT, 1 is MR."""
        return {"both": (0, 1), "ct": (0,), "mr": (1,)}[self.streams]

    @property
    def crosses(self) -> bool:
        """Return true if the network has Cross Transformer blocks."""
        return self.cross and self.streams == "both"

    @property
    def offset_rate(self) -> float:
        """Return the learning rate of the offsets relative to the network's."""
        return self.offset_lr_factor

    def without_effect(self) -> frozenset[str]:
        """List the options that have no effect, given the others.

        >>> sorted(CrossModalNetConfig(deformable=False).without_effect())
        ['max_offset', 'num_points', 'offset_lr_factor', 'offsets']
        """
        idle: set[str] = set()
        if self.streams != "both":
            idle |= {"cross", "align"}
        if not self.crosses:
            idle |= {"cross_window", "values", "similarity", "refines", "deformable", "cross_scale"}
        if not (self.crosses and self.deformable):
            idle |= {"offsets", "num_points", "max_offset", "offset_lr_factor"}
        if not self.swin:
            idle.add("window")
        if not (self.swin or self.crosses):
            idle |= {"heads", "residual", "mlp_ratio"}
        if self.stem == "linear":
            idle.add("stem_channels")
        return frozenset(idle)

    @property
    def strides(self) -> list[Triple]:
        """List the strides from full resolution to the tokens, step by step."""
        return strides_to(self.patch_embedding)

    @property
    def finer_channels(self) -> tuple[int, ...]:
        """Return the channels per stream of the maps finer than the tokens, finest first; () with a linear stem."""
        if self.stem == "linear":
            return ()
        last = len(self.stem_channels) - 1
        return tuple(self.stem_channels[min(step, last)] for step in range(len(self.strides)))

    @property
    def fused_channels(self) -> tuple[int, ...]:
        """Return the channels of the head's maps, finest first; () with a linear stem."""
        return tuple(self.head_channels << step for step in range(len(self.finer_channels)))

    @property
    def num_levels(self) -> int:
        """Count the levels of the encoder, the deepest included."""
        return len(self.depths)

    def dim(self, level: int) -> int:
        """Return the channels per stream at `level`."""
        return self.channels << level

    def multiples(self) -> Triple:
        """Return the voxels per axis of which a patch must be a multiple."""
        d, h, w = (stride * 2 ** (self.num_levels - 1) for stride in self.patch_embedding)
        return d, h, w

    def check_size(self, size: tuple[int, ...]) -> None:
        """Check a patch of `size` voxels against the strides.

        Raises:
            ValueError: the patch does not have three axes, an axis is not a positive multiple, or convolutions would
                normalise a single token at the deepest level.
        """
        if len(size) != 3:
            raise ValueError(f"patch size must have 3 axes, got {size}")
        for axis, n, stride, multiple in zip(AXES, size, self.patch_embedding, self.multiples(), strict=True):
            if n < multiple or n % multiple:
                raise ValueError(
                    f"patch size {size}: {axis} must be a multiple of {multiple} "
                    f"(patch_embedding {stride} x 2 for each of {self.num_levels - 1} mergings), got {n}"
                )
        made_by, kind = ("transitions", self.transitions) if self.num_levels > 1 else ("stem", self.stem)
        if kind == "conv" and tuple(size) == self.multiples():
            raise ValueError(
                f"patch size {size}: {made_by}: conv needs two tokens at the deepest level to normalise over, "
                f"an axis of twice its multiple {self.multiples()} at least"
            )

    def window_at(self, size: Triple) -> Triple:
        """Return the window of the Swin blocks on a map of `size` tokens."""
        return effective_window(size, self.window or dividing_window(size))

    def cross_window_at(self, level: int, size: Triple) -> Triple | None:
        """Return the window of the cross attention at `level` on a map of `size` tokens; None: all tokens."""
        if self.cross_window is None:
            return None if level == self.num_levels - 1 else dividing_window(size)
        window = self.cross_window[level]
        return None if window is None else effective_window(size, window)

    def map_size(self, patch_size: Triple, level: int) -> Triple:
        """Return the tokens per axis at `level`."""
        d, h, w = (n // (s * 2**level) for n, s in zip(patch_size, self.patch_embedding, strict=True))
        return d, h, w


class BuildConfig(CrossModalNetConfig):
    """Add the options that other sections set (`losses`, `train`)."""

    checkpointing: bool = Field(False, description="recompute activations in the backward pass")
    deep_supervision: bool = Field(False, description="logits of coarser maps in training mode, too")
    missing_token: bool = Field(False, description="learned token in place of a stream whose image is missing")
