"""What CrossModalNet is built from: its options, and the rules that they and the patch size obey."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

from crossmodalnet.networks.common.windows import Triple, dividing_window, effective_window, padding_share
from crossmodalnet.networks.crossmodalnet.attention import Similarity, Values
from crossmodalnet.networks.crossmodalnet.convolution import strides_to
from crossmodalnet.networks.crossmodalnet.cross import Refines
from crossmodalnet.networks.crossmodalnet.deformable import Offsets
from crossmodalnet.networks.crossmodalnet.swin import Residual

Position = Literal["none", "sincos"]
Transition = Literal["linear", "conv"]
StreamNames = Literal["both", "ct", "mr"]

# Share of padded tokens from which a window is called wasteful.
WASTE = 0.1
AXES = ("depth", "height", "width")


@dataclass(frozen=True)
class CrossModalNetConfig:
    """Options of CrossModalNet; lists have one entry per level, finest first.

    Attributes:
        streams: both (the paper), or one alone, which then has nothing to attend to across: an ablation.
        channels: of each stream at the finest level, doubled at each next one.
        depths: layers T^l (plain Swin, shifted Swin, Cross Transformer block) per level.
        heads: of every attention, per level.
        patch_embedding: voxels per token and axis.
        window: of the Swin blocks, tokens per axis; None is the one that pads the map of each level least.
        swin: with Swin blocks; without, a layer has its Cross Transformer blocks alone.
        cross: with Cross Transformer blocks; without, the streams meet in the head alone.
        cross_window: of the cross attention, per level, where None is attention over all tokens; None for all is the
            window that pads each map least, and all tokens at the deepest level.
        values: stream of the values in Eq. 4.
        similarity: of queries and keys.
        refines: which of its two streams a Cross Transformer block refines.
        residual: Eq. 2 as printed, or the usual pre-norm block.
        deformable: with the deformable operator on the keys' stream.
        offsets: of the deformable operator.
        num_points: K of Eq. 7, per level.
        max_offset: bound on the offsets, in tokens of the level.
        mlp_ratio: hidden width of the MLPs over their channels.
        drop_path: probability of skipping a branch, rising linearly to this value at the deepest level.
        position: encoding added after patch embedding.
        stem: linear patch embedding, or residual convolutions from full resolution down to the tokens, whose finer
            maps are joined again on the way up, in the head.
        stem_channels: per stream, for stem conv, of the maps finer than the tokens, finest first; the last entry
            serves further ones.
        joins: between levels and at the skips of each stream: patch merging and expanding with linear maps, or
            residual convolutions.
        head_channels: features per voxel before the classes, twice as many at each coarser map of a head of
            convolutions.
        cross_scale: first scale of the residual branch of Cross Transformer blocks, on the last layer of their MLP.
        checkpointing: recompute activations in the backward pass to save memory.
        deep_supervision: logits of coarser maps in training mode, too.
        missing_token: a learned token in place of a stream whose image is missing.
    """

    streams: StreamNames
    channels: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    patch_embedding: Triple
    window: Triple | None
    swin: bool
    cross: bool
    cross_window: tuple[Triple | None, ...] | None
    values: Values
    similarity: Similarity
    refines: Refines
    residual: Residual
    deformable: bool
    offsets: Offsets
    num_points: tuple[int, ...]
    max_offset: float
    mlp_ratio: float
    drop_path: float
    position: Position
    stem: Transition
    stem_channels: tuple[int, ...]
    joins: Transition
    head_channels: int
    cross_scale: float
    checkpointing: bool
    deep_supervision: bool = False
    missing_token: bool = False

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "CrossModalNetConfig":
        """Read the options from `values`, which must hold each of them that has no default.

        Raises:
            ValueError: an unknown or missing option, or one that breaks a rule.
        """
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if wrong := sorted((set(values) - known) | (needed - set(values))):
            raise ValueError(
                f"options of crossmodalnet: {', '.join(wrong)} unknown or missing; all: {sorted(known)}"
            )
        return cls(**values)

    def __post_init__(self) -> None:
        levels = len(self.depths)
        for name in ("heads", "cross_window", "num_points"):
            value = getattr(self, name)
            if value is not None and (length := len(value)) != levels:
                raise ValueError(
                    f"{name} must have one entry per level as depths has ({levels}), got {length}"
                )
        if self.stem == "conv" and not self.stem_channels:
            raise ValueError("stem_channels must have an entry for stem: conv, got none")
        for level, num_heads in enumerate(self.heads):
            if self.dim(level) % num_heads:
                raise ValueError(
                    f"heads[{level}] must divide the {self.dim(level)} channels of its level, got {num_heads}"
                )
        if self.position == "sincos" and self.channels % 6:
            raise ValueError(f"channels must be a multiple of 6 for position: sincos, got {self.channels}")

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input channels, one per stream: 0 is CT, 1 is MR."""
        return {"both": (0, 1), "ct": (0,), "mr": (1,)}[self.streams]

    @property
    def crosses(self) -> bool:
        """Whether there are Cross Transformer blocks."""
        return self.cross and self.streams == "both"

    @property
    def strides(self) -> list[Triple]:
        """Strides from full resolution down to the tokens, step by step."""
        return strides_to(self.patch_embedding)

    @property
    def finer_channels(self) -> tuple[int, ...]:
        """Channels per stream of the maps finer than the tokens, finest first; none with a linear stem."""
        if self.stem == "linear":
            return ()
        last = len(self.stem_channels) - 1
        return tuple(self.stem_channels[min(step, last)] for step in range(len(self.strides)))

    @property
    def fused_channels(self) -> tuple[int, ...]:
        """Channels of the head's maps, finest first, twice as many at each coarser one; none with a linear stem."""
        return tuple(self.head_channels << step for step in range(len(self.finer_channels)))

    @property
    def num_levels(self) -> int:
        """Levels of the encoder, the deepest included."""
        return len(self.depths)

    def dim(self, level: int) -> int:
        """Channels of each stream at `level`."""
        return self.channels << level

    def drop_path_at(self, level: int) -> float:
        """Probability of skipping a branch at `level`."""
        return self.drop_path * level / max(self.num_levels - 1, 1)

    def multiples(self) -> Triple:
        """Voxels per axis of which a patch must be a multiple."""
        d, h, w = (stride * 2 ** (self.num_levels - 1) for stride in self.patch_embedding)
        return d, h, w

    def check_size(self, size: tuple[int, ...]) -> None:
        """Check that the strides divide a patch of `size` voxels, and that what is left can be normalised.

        Raises:
            ValueError: not three axes, or one that is no positive multiple; names the axis and the multiple. Or a
                single token at the deepest level, where convolutions make it: it has no variance over space.
        """
        if len(size) != 3:
            raise ValueError(f"patch size must have 3 axes, got {size}")
        for axis, n, stride, multiple in zip(AXES, size, self.patch_embedding, self.multiples(), strict=True):
            if n < multiple or n % multiple:
                raise ValueError(
                    f"patch size {size}: {axis} must be a multiple of {multiple} "
                    f"(patch_embedding {stride} x 2 for each of {self.num_levels - 1} mergings), got {n}"
                )
        made_by, kind = ("joins", self.joins) if self.num_levels > 1 else ("stem", self.stem)
        if kind == "conv" and tuple(size) == self.multiples():
            raise ValueError(
                f"patch size {size}: {made_by}: conv needs two tokens at the deepest level to normalise over, "
                f"an axis of twice its multiple {self.multiples()} at least"
            )

    def window_at(self, size: Triple) -> Triple:
        """Window of the Swin blocks on a map of `size` tokens."""
        return effective_window(size, self.window or dividing_window(size))

    def cross_window_at(self, level: int, size: Triple) -> Triple | None:
        """Window of the cross attention at `level` on a map of `size` tokens; None: over all tokens."""
        if self.cross_window is None:
            return None if level == self.num_levels - 1 else dividing_window(size)
        window = self.cross_window[level]
        return None if window is None else effective_window(size, window)

    def wasteful_windows(self, patch_size: Triple) -> list[str]:
        """Name the windows that add more than a tenth to the tokens of a map, with what would not."""
        found = []
        for level in range(self.num_levels):
            size = self.map_size(patch_size, level)
            windows = {"window": self.window_at(size)}
            if self.crosses and (cross := self.cross_window_at(level, size)):
                windows["cross_window"] = cross
            found += [
                f"{name} {list(window)} adds {share:.0%} to the {list(size)} tokens of level {level + 1}; "
                f"{list(dividing_window(size))} adds {padding_share(size, dividing_window(size)):.0%}"
                for name, window in windows.items()
                if (share := padding_share(size, window)) > WASTE
            ]
        return found

    def map_size(self, patch_size: Triple, level: int) -> Triple:
        """Tokens per axis at `level`."""
        d, h, w = (n // (s * 2**level) for n, s in zip(patch_size, self.patch_embedding, strict=True))
        return d, h, w
