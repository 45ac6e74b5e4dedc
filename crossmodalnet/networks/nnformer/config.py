"""What an nnFormer is built from: the published sizes, and a small one."""

from dataclasses import dataclass
from math import ceil

from crossmodalnet.networks.common.sizes import Triple

CUBE: Triple = (2, 2, 2)
ONES: Triple = (1, 1, 1)


@dataclass(frozen=True)
class NNFormerConfig:
    """Size of an nnFormer; lists have one entry per level, finest first.

    Attributes:
        channels: channels at the finest level, doubled at each next one.
        depths: blocks per level, of the encoder and of the decoder (whose deepest level is the encoder's).
        heads: heads of the encoder's attentions.
        decoder_heads: heads of the decoder's attentions, one entry less than the encoder's.
        stem_strides: voxels per token and axis are the product of both.
        windows: tokens per axis.
        strides: strides from each level to the next.
        paddings: paddings of the convolutions with these strides.
        deep_supervision: whether the published network has it; others never have its heads.
        shift_mask: whether the published network keeps tokens apart that a shift brings together; the
            others all do.
    """

    channels: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    decoder_heads: tuple[int, ...]
    stem_strides: tuple[Triple, Triple]
    windows: tuple[Triple, ...]
    strides: tuple[Triple, ...] = (CUBE,) * 3
    paddings: tuple[Triple, ...] = (ONES,) * 3
    deep_supervision: bool = True
    shift_mask: bool = True

    @property
    def num_levels(self) -> int:
        """Levels of the encoder, the deepest included."""
        return len(self.depths)

    @property
    def patch(self) -> Triple:
        """Voxels per token and axis at the finest level."""
        d, h, w = (a * b for a, b in zip(*self.stem_strides, strict=True))
        return d, h, w

    def maps(self, size: tuple[int, ...]) -> list[Triple]:
        """Tokens per axis of each level for an input of `size` voxels."""
        d, h, w = (ceil(n / p) for n, p in zip(size, self.patch, strict=True))
        maps: list[Triple] = [(d, h, w)]
        for stride, padding in zip(self.strides, self.paddings, strict=True):
            d, h, w = (
                ceil(n / s) if p or s == 1 else max(n // s, 1)
                for n, s, p in zip(maps[-1], stride, padding, strict=True)
            )
            maps.append((d, h, w))
        return maps


SIZES = {
    "synapse": NNFormerConfig(
        channels=192,
        depths=(2, 2, 2, 2),
        heads=(6, 12, 24, 48),
        decoder_heads=(6, 12, 24),
        stem_strides=((2, 2, 2), (1, 2, 2)),
        windows=((4, 4, 4), (4, 4, 4), (8, 8, 8), (4, 4, 4)),
    ),
    "tumor": NNFormerConfig(
        channels=96,
        depths=(2, 2, 2, 2),
        heads=(3, 6, 12, 24),
        decoder_heads=(6, 12, 24),
        stem_strides=((2, 2, 2), (2, 2, 2)),
        windows=((4, 4, 4), (4, 4, 4), (8, 8, 8), (4, 4, 4)),
        deep_supervision=False,
    ),
    "acdc": NNFormerConfig(
        channels=96,
        depths=(2, 2, 2, 2),
        heads=(3, 6, 12, 24),
        decoder_heads=(3, 6, 12),
        stem_strides=((1, 2, 2), (1, 2, 2)),
        windows=((3, 5, 5), (3, 5, 5), (7, 10, 10), (3, 5, 5)),
        strides=((1, 2, 2), (2, 2, 2), (2, 2, 2)),
        paddings=((0, 1, 1), (1, 1, 1), (0, 1, 1)),
        deep_supervision=False,
        shift_mask=False,
    ),
    "small": NNFormerConfig(
        channels=32,
        depths=(2, 2, 2, 2),
        heads=(1, 2, 4, 8),
        decoder_heads=(1, 2, 4),
        stem_strides=((2, 2, 2), (1, 1, 1)),
        windows=((4, 4, 4), (5, 5, 5), (5, 5, 5), (3, 3, 3)),
    ),
}
