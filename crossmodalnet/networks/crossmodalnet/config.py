"""What CrossModalNet is built from: its options, and the rules that they and the patch size obey."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from crossmodalnet.networks.common.sizes import (
    LARGEST_WINDOW,
    SMALLEST_WINDOW,
    Triple,
    dividing_window,
    effective_window,
    padding_share,
    strides_to,
)
from crossmodalnet.networks.crossmodalnet.choices import (
    Offsets,
    Position,
    Refines,
    Residual,
    Similarity,
    StreamNames,
    Transition,
    Values,
)

# Share of padded tokens from which a window is called wasteful.
WASTE = 0.1
AXES = ("depth", "height", "width")


class WastefulWindow(NamedTuple):
    """A window that adds many tokens to a map, in words, and what to do about it."""

    text: str
    remedy: str


@dataclass(frozen=True)
class CrossModalNetConfig:
    """Options of CrossModalNet; lists have one entry per level, finest first.

    `CrossModalNetConfig()` is the network of the default params.yaml, which takes defaults, bounds and
    descriptions from here.

    >>> config = CrossModalNetConfig(depths=(1, 1, 1), heads=(2, 4, 8), num_points=(2, 2, 4))
    >>> config.dim(2), config.multiples()
    (192, (16, 16, 16))
    >>> CrossModalNetConfig(heads=(4,))
    Traceback (most recent call last):
    ValueError: heads must have one entry per level as depths has (2), got 1
    """

    streams: StreamNames = field(
        default="both",
        metadata={
            "description": "streams of the network; both: the paper; ct or mr: one stream alone, without cross "
            "attention",
        },
    )
    channels: int = field(
        default=48,
        metadata={
            "ge": 1,
            "description": "channels of each stream at the finest level of tokens, doubled at each next one",
        },
    )
    depths: tuple[int, ...] = field(
        default=(1, 1),
        metadata={
            "description": "layers per level, each a plain and a shifted Swin block and a Cross Transformer block",
        },
    )
    heads: tuple[int, ...] = field(
        default=(4, 8),
        metadata={"description": "attention heads per level; divide the channels of the level"},
    )
    patch_embedding: Triple = field(
        default=(4, 4, 4),
        metadata={"description": "voxels per token and axis at the finest level"},
    )
    window: Triple | None = field(
        default=None,
        metadata={
            "description": "window of the Swin blocks, tokens per axis; null: at each level the one of 4 to 7 that "
            "pads its map least",
        },
    )
    swin: bool = field(
        default=True,
        metadata={"description": "Swin blocks in every layer; false: an ablation"},
    )
    cross: bool = field(
        default=True,
        metadata={
            "description": "Cross Transformer blocks in every layer; false: the streams meet in the head alone",
        },
    )
    cross_window: tuple[Triple | None, ...] | None = field(
        default=None,
        metadata={
            "description": "window of the cross attention per level, of which null is over all tokens; null for all: "
            "chosen as `window` is, and over all tokens at the deepest level",
        },
    )
    values: Values = field(
        default="b",
        metadata={
            "description": "values of Eq. 4; b: from the queries' stream, as printed; a: from the keys' stream, as "
            "usual",
        },
    )
    similarity: Similarity = field(
        default="dot",
        metadata={
            "description": "similarity of queries and keys; dot: the paper; cosine: makes Theorem 2.1.2 (scaling) true",
        },
    )
    refines: Refines = field(
        default="keys",
        metadata={
            "description": "stream that a cross block refines; keys: the first argument of Eq. 3, as printed; queries: "
            "the one that asks, as is usual",
        },
    )
    residual: Residual = field(
        default="paper",
        metadata={
            "description": "residual form of the blocks; paper: MLP(LN(A + F)) + F, as printed in Eq. 2; standard: the "
            "usual pre-norm block",
        },
    )
    deformable: bool = field(
        default=True,
        metadata={"description": "deformable operator (Eq. 7) on what the queries attend to"},
    )
    offsets: Offsets = field(
        default="static",
        metadata={
            "description": "origin of the offsets; static: 3 K D H W parameters, tied to the patch size, as in the "
            "paper; predicted: from the features, any size",
        },
    )
    num_points: tuple[int, ...] = field(
        default=(2, 4),
        metadata={"description": "K of Eq. 7 per level: samples per location"},
    )
    max_offset: float = field(
        default=2.0,
        metadata={"gt": 0, "description": "bound on the offsets, tokens of the level"},
    )
    mlp_ratio: float = field(
        default=2.0,
        metadata={"gt": 0, "description": "hidden width of the MLPs over their channels"},
    )
    drop_path: float = field(
        default=0.0,
        metadata={"ge": 0, "lt": 1, "description": "stochastic depth, rising to this at the deepest level"},
    )
    position: Position = field(
        default="sincos",
        metadata={
            "description": "position added to the embedded tokens; sincos: absolute 3-D position, without parameters",
        },
    )
    stem: Transition = field(
        default="conv",
        metadata={
            "description": "way from voxels to tokens and back; linear: patch embedding and expanding alone, as in the "
            "paper; conv: residual convolutions from full resolution down to the tokens, joined again on "
            "the way up",
        },
    )
    stem_channels: tuple[int, ...] = field(
        default=(8, 24),
        metadata={
            "description": "channels per stream of the maps finer than the tokens, for stem: conv, finest first; the "
            "last entry serves further ones",
        },
    )
    joins: Transition = field(
        default="conv",
        metadata={
            "description": "way between levels and at the skips; linear: patch merging and expanding, as in the paper; "
            "conv: residual convolutions",
        },
    )
    head_channels: int = field(
        default=16,
        metadata={
            "ge": 1,
            "description": "features per voxel before the classes, twice as many at each coarser map on the way up",
        },
    )
    cross_scale: float = field(
        default=0.1,
        metadata={
            "gt": 0,
            "description": "first scale of the residual branch of Cross Transformer blocks; small, the streams meet "
            "slowly",
        },
    )
    checkpointing: bool = field(
        default=False,
        metadata={"description": "activations are computed anew in the backward pass: less memory, slower"},
    )
    deep_supervision: bool = field(
        default=False,
        metadata={"description": "logits of coarser maps in training mode, too"},
    )
    missing_token: bool = field(
        default=False,
        metadata={"description": "learned token in place of a stream whose image is missing"},
    )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "CrossModalNetConfig":
        """Read the options from `values`; an option that is not there has its default.

        Raises:
            ValueError: an unknown option, or one that breaks a rule.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"options of crossmodalnet: {', '.join(unknown)} unknown; all: {sorted(known)}")
        return cls(**values)

    def __post_init__(self) -> None:
        levels = len(self.depths)
        if min(self.patch_embedding) < 1:
            raise ValueError(f"patch_embedding must be positive, got {self.patch_embedding}")
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

    def without_effect(self) -> frozenset[str]:
        """Name the options that change nothing as the others stand.

        >>> sorted(CrossModalNetConfig(deformable=False).without_effect())
        ['max_offset', 'num_points', 'offsets']
        """
        none: set[str] = set()
        if self.streams != "both":
            none.add("cross")
        if not self.crosses:
            none |= {"cross_window", "values", "similarity", "refines", "deformable", "cross_scale"}
        if not (self.crosses and self.deformable):
            none |= {"offsets", "num_points", "max_offset"}
        if not self.swin:
            none.add("window")
        if not (self.swin or self.crosses):
            none |= {"heads", "residual", "mlp_ratio", "drop_path"}
        if self.stem == "linear":
            none.add("stem_channels")
        return frozenset(none)

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
        deepest = self.num_levels - 1
        return self.drop_path * level / deepest if deepest else self.drop_path

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

    def wasteful_windows(self, patch_size: Triple) -> list[WastefulWindow]:
        """Name the windows that add more than a tenth to the tokens of a map, with what would add less."""
        found = []
        for level in range(self.num_levels):
            size = self.map_size(patch_size, level)
            windows = {"window": self.window_at(size)}
            if self.crosses and (cross := self.cross_window_at(level, size)):
                windows["cross_window"] = cross
            found += [
                _wasteful(
                    f"{name} {list(window)}", f"the {list(size)} tokens of level {level + 1}", size, share
                )
                for name, window in windows.items()
                if (share := padding_share(size, window)) > WASTE
            ]
        return found

    def map_size(self, patch_size: Triple, level: int) -> Triple:
        """Tokens per axis at `level`."""
        d, h, w = (n // (s * 2**level) for n, s in zip(patch_size, self.patch_embedding, strict=True))
        return d, h, w


def _wasteful(window: str, tokens: str, size: Triple, share: float) -> WastefulWindow:
    best = dividing_window(size)
    least = padding_share(size, best)
    text = f"{window} adds {share:.0%} to {tokens}"
    if least == share:
        return WastefulWindow(
            f"{text}; no window of {SMALLEST_WINDOW} to {LARGEST_WINDOW} adds less",
            "choose another train.patch_size; `crossmodalnet params fit` finds one that windows divide",
        )
    remedy = (
        "null chooses a window that divides the map"
        if least == 0
        else "null chooses the window that adds least"
    )
    return WastefulWindow(f"{text}; {list(best)} adds {least:.0%}", remedy)
