"""CrossModalNet (Eq. 1): parallel streams through an encoder and a decoder, fused in the head."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.samples import is_missing
from crossmodalnet.networks.common.interfaces import LayeredNetwork, Streams, channels_first
from crossmodalnet.networks.common.wrappers import PatchExpanding
from crossmodalnet.networks.crossmodalnet.alignment import Alignment
from crossmodalnet.networks.crossmodalnet.convolution import UpConvolution, to_map, to_tokens
from crossmodalnet.networks.crossmodalnet.head import AuxiliaryHeads, ConvHead, FusedHead

Size = tuple[int, ...]


class DualLayer(nn.Module):
    """Apply a layer of Eq. 1: `F_a^l = T_a^l(F_a, F_b)` and `F_b^l = T_b^l(F_b, F_a)`, at once.

    Each stream has Swin blocks, then a Cross Transformer block. Both cross blocks read the Swin blocks' output.
    """

    def __init__(self, swin: Sequence[nn.Module], cross: Sequence[nn.Module] | None) -> None:
        super().__init__()
        self.swin = nn.ModuleList(swin)
        self.cross = None if cross is None else nn.ModuleList(cross)

    def forward(self, *streams: Tensor) -> Streams:
        """Map the streams `(b, d, h, w, c)` to the same shapes."""
        refined = tuple(swin(stream) for swin, stream in zip(self.swin, streams, strict=True))
        if self.cross is None:
            return refined
        a, b = refined
        return self.cross[0](a, b), self.cross[1](b, a)


class SkipConnection(nn.Module):
    """Expand coarse features of one stream and fuse them with the skip connection.

    Example: (1, 12, 12, 12, 48) and skip (1, 24, 24, 24, 24) -> (1, 24, 24, 24, 48) -> (1, 24, 24, 24, 24).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expand = PatchExpanding(2 * dim, dim)
        self.fuse = nn.Linear(2 * dim, dim)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Map coarse `(b, d / 2, h / 2, w / 2, 2 c)` and skip `(b, d, h, w, c)` to `(b, d, h, w, c)`."""
        return self.fuse(torch.cat([self.expand(coarse), skip], dim=-1))


class ConvSkip(nn.Module):
    """Upsample one stream by convolutions with the skip connection (not in the paper).

    Example: (1, 5, 5, 5, 96) and skip (1, 10, 10, 10, 48) -> (1, 10, 10, 10, 48).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.up = UpConvolution(2 * dim, dim, dim, (2, 2, 2))

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Map coarse `(b, d / 2, h / 2, w / 2, 2 c)` and skip `(b, d, h, w, c)` to `(b, d, h, w, c)`."""
        return to_tokens(self.up(to_map(coarse), to_map(skip)))


class CrossModalNet(LayeredNetwork):
    """Segment with the U-shaped parallel feature network; `build_crossmodalnet` makes its parts.

    Example with patches of 40x40x40, tokens of 4 voxels with 48 channels and two levels; each stream:

        image    (1, 1, 40, 40, 40)
        stem     (1, 8, 40, 40, 40) -> (1, 24, 20, 20, 20)
        encoder  (1, 10, 10, 10, 48) -> (1, 5, 5, 5, 96)
        decoder  (1, 10, 10, 10, 48)
        head     (1, 32, 20, 20, 20) -> (1, 16, 40, 40, 40), of both streams together
        logits   (1, 8, 40, 40, 40)

    Pairs hold stream a (CT), then stream b (MR); one-stream networks have lists of one. Learned tokens, if there are
    any, replace a missing modality (`crossmodalnet.imaging.samples`); its finer maps are zero.
    """

    def __init__(
        self,
        *,
        inputs: Sequence[int],  # input channel of each stream
        check_size: Callable[[Size], None],  # raises ValueError if the network cannot take the spatial size
        stems: nn.ModuleList,  # pair, or empty
        embeddings: nn.ModuleList,  # pair, of the images or the stems' outputs
        missing: nn.ParameterList,  # pair of tokens for missing images, or empty
        encoder: nn.ModuleList,  # layers of each level, finest first
        mergings: nn.ModuleList,  # pair from each level but the deepest to the next
        skips: nn.ModuleList,  # pair for each level but the deepest
        decoder: nn.ModuleList,  # layers of each level but the deepest
        head: FusedHead | ConvHead,
        auxiliary: AuxiliaryHeads | None,  # for deep supervision
    ) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.check_size = check_size
        self.stems = stems
        self.embeddings = embeddings
        self.missing = missing
        self.encoder = encoder
        self.mergings = mergings
        self.skips = skips
        self.decoder = decoder
        self.head = head
        self.auxiliary = auxiliary
        self.alignment: Alignment | None = None  # of the MR to the CT, in evaluation mode

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Segment `(b, 2, D, H, W)`, CT and MR, into logits `(b, num_classes, D, H, W)`.

        With deep supervision it returns a list of logits in training mode, finest first.

        Raises:
            ValueError: the input does not have two channels, or the network cannot take its size.
        """
        return self.logits_and_layers(x)[0]

    def logits_and_layers(self, x: Tensor) -> tuple[Tensor | list[Tensor], list[Streams]]:
        """Return the logits of `forward` and the features `(b, d, h, w, c)` of every layer."""
        streams, finer = self._embedded(x)
        layers = self._layers(streams)
        logits, fused = self.head(layers[-1], finer)
        if self.auxiliary is None or not self.training:
            return logits, layers
        return [logits, *self.auxiliary(fused, self._supervised(layers))], layers

    def features(self, x: Tensor) -> list[Streams]:
        """Compute pairs of features `F^l` (Eq. 1), `(b, c, d, h, w)`, of the embedding and of each layer."""
        return channels_first(self._layers(self._embedded(x)[0]))

    def _embedded(self, x: Tensor) -> tuple[Streams, list[Streams]]:
        """Embed the images; also return the finer maps per resolution, finest first."""
        if x.ndim != 5 or x.shape[1] != 2:
            raise ValueError(f"input must be (batch, 2, depth, height, width), got {tuple(x.shape)}")
        self.check_size(tuple(x.shape[2:]))
        if self.alignment is not None and not self.training:  # trained by its own loss, beside the network
            x = self.alignment(x)
        images = [x[:, channel : channel + 1] for channel in self.inputs]
        pyramids = [stem(image) for stem, image in zip(self.stems, images, strict=True)] if self.stems else []
        deepest = [maps[-1] for maps in pyramids] if pyramids else images
        streams: Streams = tuple(embed(m) for embed, m in zip(self.embeddings, deepest, strict=True))
        finer = list(zip(*pyramids, strict=True))
        if not self.missing:
            return streams, finer
        # (b, 1, 1, 1, 1) per stream
        absent = [mask.view(-1, 1, 1, 1, 1) for mask in is_missing(x)[:, list(self.inputs)].T]
        replaced = zip(absent, self.missing, streams, strict=True)
        return (
            tuple(torch.where(mask, token, stream) for mask, token, stream in replaced),
            [tuple(m.masked_fill(mask, 0.0) for mask, m in zip(absent, maps, strict=True)) for maps in finer],
        )

    def _layers(self, streams: Streams) -> list[Streams]:
        out: list[Streams] = [streams]
        skips: list[Streams] = []
        for level, layers in enumerate(self.encoder):
            if level:
                skips.append(streams)
                streams = _each(self.mergings[level - 1], streams)
            # A level without layers counts as one; the embedding is there already.
            out += _run(layers, streams) or [streams] * bool(level)
            streams = out[-1]
        for level in reversed(range(len(skips))):
            streams = _each(self.skips[level], streams, skips[level])
            out += _run(self.decoder[level], streams) or [streams]
            streams = out[-1]
        return out

    def _supervised(self, layers: Sequence[Streams]) -> list[Streams]:
        """Pick the last layer of each decoder level, finest first, and of the encoder's deepest level."""
        ends = [len(layers) - 1]
        for level in self.decoder:
            assert isinstance(level, nn.ModuleList)
            ends.append(ends[-1] - max(1, len(level)))
        return [layers[end] for end in ends]


def _each(modules: nn.Module, *features: Streams) -> Streams:
    """Apply each stream's module to that stream's features."""
    assert isinstance(modules, nn.ModuleList)
    return tuple(module(*own) for module, own in zip(modules, zip(*features, strict=True), strict=True))


def _run(layers: nn.Module, streams: Streams) -> list[Streams]:
    """Run the layers of a level in turn and keep every output."""
    assert isinstance(layers, nn.ModuleList)
    out = []
    for layer in layers:
        streams = layer(*streams)
        out.append(streams)
    return out
