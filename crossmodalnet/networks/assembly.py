"""Making the parts of CrossModalNet from its options and putting them together."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from timm.layers import trunc_normal_
from torch import nn

from crossmodalnet.networks.attention import CrossAttention
from crossmodalnet.networks.config import CrossModalNetConfig
from crossmodalnet.networks.cross import CrossTransformerBlock
from crossmodalnet.networks.crossmodalnet import CrossModalNet, DualLayer, SkipConnection
from crossmodalnet.networks.deformable import DeformableOperator
from crossmodalnet.networks.embedding import PatchEmbedding, PatchMerging
from crossmodalnet.networks.head import ConvStem, FusedHead
from crossmodalnet.networks.swin import SwinBlock
from crossmodalnet.networks.windows import Triple, effective_window


def build_crossmodalnet(options: Mapping[str, Any], patch_size: Triple, num_classes: int) -> CrossModalNet:
    """Build CrossModalNet with freshly drawn weights (from torch's global generator).

    Args:
        options: the fields of `CrossModalNetConfig`.
        patch_size: voxels per axis of the inputs to come.
        num_classes: with background.

    Raises:
        ValueError: an option or the patch size breaks a rule.
    """
    config = CrossModalNetConfig.from_mapping(options)
    config.check_size(patch_size)
    upper = range(config.num_levels - 1)
    stem_channels = config.stem_channels if config.stem == "conv" else 0
    network = CrossModalNet(
        inputs=config.inputs,
        check_size=partial(_check_size, config, patch_size),
        stems=nn.ModuleList(ConvStem(stem_channels) for _ in config.inputs if stem_channels),
        embeddings=nn.ModuleList(
            PatchEmbedding(
                stem_channels or 1,
                config.channels,
                config.patch_embedding,
                sincos=config.position == "sincos",
            )
            for _ in config.inputs
        ),
        encoder=nn.ModuleList(_layers(config, patch_size, level) for level in range(config.num_levels)),
        mergings=nn.ModuleList(
            nn.ModuleList(PatchMerging(config.dim(n)) for _ in config.inputs) for n in upper
        ),
        skips=nn.ModuleList(
            nn.ModuleList(SkipConnection(config.dim(n)) for _ in config.inputs) for n in upper
        ),
        decoder=nn.ModuleList(_layers(config, patch_size, level) for level in upper),
        head=FusedHead(
            len(config.inputs) * config.channels,
            config.patch_embedding,
            channels=config.head_channels,
            stem_channels=len(config.inputs) * stem_channels,
            num_classes=num_classes,
        ),
    )
    network.apply(_initialise)
    return network


def _check_size(config: CrossModalNetConfig, patch_size: Triple, size: tuple[int, ...]) -> None:
    config.check_size(size)
    tied = config.crosses and config.deformable and config.offsets == "static"
    if tied and size != tuple(patch_size):
        raise ValueError(
            f"offsets: static ties the network to inputs of {tuple(patch_size)} voxels, got {size}"
        )


def _layers(config: CrossModalNetConfig, patch_size: Triple, level: int) -> nn.ModuleList:
    """Make the layers T^l of one level, of the encoder or the decoder."""
    size = config.map_size(patch_size, level)
    return nn.ModuleList(
        DualLayer(
            [_swin(config, size, level) for _ in config.inputs],
            [_cross(config, size, level) for _ in config.inputs] if config.crosses else None,
            checkpointing=config.checkpointing,
        )
        for _ in range(config.depths[level])
    )


def _swin(config: CrossModalNetConfig, size: Triple, level: int) -> nn.Sequential:
    return nn.Sequential(
        *(
            SwinBlock(
                config.dim(level),
                config.heads[level],
                effective_window(size, config.window),
                shifted=shifted,
                residual=config.residual,
                mlp_ratio=config.mlp_ratio,
                drop_path=config.drop_path_at(level),
            )
            for shifted in (False, True)
        )
    )


def _cross(config: CrossModalNetConfig, size: Triple, level: int) -> CrossTransformerBlock:
    dim, window = config.dim(level), config.cross_window[level]
    sampler = (
        DeformableOperator(
            dim,
            size,
            num_points=config.num_points[level],
            max_offset=config.max_offset,
            offsets=config.offsets,
        )
        if config.deformable
        else None
    )
    attention = CrossAttention(dim, config.heads[level], values=config.values, similarity=config.similarity)
    return CrossTransformerBlock(
        dim,
        attention,
        sampler=sampler,
        window=None if window is None else effective_window(size, window),
        refines=config.refines,
        residual=config.residual,
        mlp_ratio=config.mlp_ratio,
        drop_path=config.drop_path_at(level),
    )


def _initialise(module: nn.Module) -> None:
    """Draw linear weights with variance 1 / inputs, so that signals keep their size at any width."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
