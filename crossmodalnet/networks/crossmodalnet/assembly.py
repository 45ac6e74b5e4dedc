"""Build CrossModalNet and its parts from options."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from timm.layers import trunc_normal_
from torch import nn

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.common.wrappers import checkpoint_blocks
from crossmodalnet.networks.crossmodalnet.alignment import Alignment
from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock, SwinBlock
from crossmodalnet.networks.crossmodalnet.config import BuildConfig, CrossModalNetConfig
from crossmodalnet.networks.crossmodalnet.convolution import SLOPE, ResidualConvBlock
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator
from crossmodalnet.networks.crossmodalnet.embedding import ConvEmbedding, ConvMerging, PatchEmbedding, PatchMerging
from crossmodalnet.networks.crossmodalnet.head import AuxiliaryHeads, ConvHead, ConvStem, FusedHead
from crossmodalnet.networks.crossmodalnet.network import ConvSkip, CrossModalNet, DualLayer, SkipConnection

NEEDED = frozenset(CrossModalNetConfig().options())  # on model cards: the weights do not determine these
TOKEN_SCALE = 0.02  # initial standard deviation of a missing stream's token


def build_crossmodalnet(options: Mapping[str, Any], patch_size: Triple, num_classes: int) -> CrossModalNet:
    """Build CrossModalNet from the fields of `BuildConfig`, with random weights from torch's global generator.

    Raises:
        ValueError: an option or the patch size is invalid.
    """
    config = BuildConfig.model_validate(dict(options))
    config.check_size(patch_size)
    upper = range(config.num_levels - 1)
    network = CrossModalNet(
        inputs=config.inputs,
        check_size=partial(_check_size, config, patch_size),
        stems=nn.ModuleList(_stem(config) for _ in config.inputs if config.finer_channels),
        embeddings=nn.ModuleList(_embedding(config) for _ in config.inputs),
        missing=nn.ParameterList(
            torch.randn(config.dim(0)) * TOKEN_SCALE for _ in config.inputs if config.missing_token
        ),
        encoder=nn.ModuleList(_layers(config, patch_size, level) for level in range(config.num_levels)),
        mergings=nn.ModuleList(nn.ModuleList(_merging(config, n) for _ in config.inputs) for n in upper),
        skips=nn.ModuleList(nn.ModuleList(_skip(config, n) for _ in config.inputs) for n in upper),
        decoder=nn.ModuleList(_layers(config, patch_size, level) for level in upper),
        head=_head(config, num_classes),
        auxiliary=_auxiliary(config, num_classes) if config.deep_supervision else None,
    )
    network.apply(_initialise)
    _scale_branches(network, config)
    if config.align and config.streams == "both":
        network.alignment = Alignment()  # last, so that the other weights are those of a network without it
    if config.checkpointing:
        checkpoint_blocks(network, (DualLayer,))
    # Convolutions of few channels are twice as fast in channels-last memory format.
    return network.to(memory_format=torch.channels_last_3d)


def _stem(config: CrossModalNetConfig) -> ConvStem:
    channels = config.finer_channels
    return ConvStem(channels, config.strides[: len(channels) - 1])


def _embedding(config: CrossModalNetConfig) -> nn.Module:
    sincos = config.position == "sincos"
    if config.stem == "linear":
        return PatchEmbedding(1, config.channels, config.patch_embedding, sincos=sincos)
    before, strides = config.finer_channels, config.strides
    return ConvEmbedding(
        before[-1] if before else 1, config.channels, strides[-1] if strides else (1, 1, 1), sincos=sincos
    )


def _merging(config: CrossModalNetConfig, level: int) -> nn.Module:
    if config.transitions == "linear":
        return PatchMerging(config.dim(level))
    return ConvMerging(config.dim(level))


def _skip(config: CrossModalNetConfig, level: int) -> nn.Module:
    if config.transitions == "linear":
        return SkipConnection(config.dim(level))
    return ConvSkip(config.dim(level))


def _head(config: CrossModalNetConfig, num_classes: int) -> FusedHead | ConvHead:
    dim = len(config.inputs) * config.channels
    if not config.finer_channels:
        return FusedHead(dim, config.patch_embedding, channels=config.head_channels, num_classes=num_classes)
    skips = [len(config.inputs) * channels for channels in config.finer_channels]
    return ConvHead(
        dim, channels=config.fused_channels, skip_channels=skips, strides=config.strides, num_classes=num_classes
    )


def _auxiliary(config: CrossModalNetConfig, num_classes: int) -> AuxiliaryHeads:
    """Build heads for all fused maps but the finest, and for each level of tokens."""
    streams = len(config.inputs)
    dims = [streams * config.dim(level) for level in range(config.num_levels)]
    return AuxiliaryHeads([*config.fused_channels[1:], *dims], num_classes)


def _check_size(config: CrossModalNetConfig, patch_size: Triple, size: tuple[int, ...]) -> None:
    config.check_size(size)
    tied = config.crosses and config.deformable and config.offsets == "static"
    if tied and size != tuple(patch_size):
        raise ValueError(f"offsets: static ties the network to inputs of {tuple(patch_size)} voxels, got {size}")


def _layers(config: BuildConfig, patch_size: Triple, level: int) -> nn.ModuleList:
    """Build the layers T^l of one level, of the encoder or the decoder."""
    size = config.map_size(patch_size, level)
    return nn.ModuleList(
        DualLayer(
            [_swin(config, size, level) for _ in config.inputs],
            [_cross(config, size, level) for _ in config.inputs] if config.crosses else None,
        )
        for _ in range(config.depths[level])
    )


def _swin(config: CrossModalNetConfig, size: Triple, level: int) -> nn.Sequential:
    return nn.Sequential(
        *(
            SwinBlock(
                config.dim(level),
                config.heads[level],
                config.window_at(size),
                shifted=shifted,
                residual=config.residual,
                mlp_ratio=config.mlp_ratio,
            )
            for shifted in (False, True)
            if config.swin
        )
    )


def _cross(config: CrossModalNetConfig, size: Triple, level: int) -> CrossTransformerBlock:
    dim = config.dim(level)
    sampler = (
        DeformableOperator(
            dim, size, num_points=config.num_points[level], max_offset=config.max_offset, offsets=config.offsets
        )
        if config.deformable
        else None
    )
    attention = CrossAttention(dim, config.heads[level], values=config.values, similarity=config.similarity)
    return CrossTransformerBlock(
        dim,
        attention,
        sampler=sampler,
        window=config.cross_window_at(level, size),
        refines=config.refines,
        residual=config.residual,
        mlp_ratio=config.mlp_ratio,
    )


def _initialise(module: nn.Module) -> None:
    """Draw linear weights with variance 1 / inputs, so that signals keep their scale at any width."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, ResidualConvBlock):
        for convolution in (module.conv1, module.conv2):
            nn.init.kaiming_normal_(convolution.weight, SLOPE)


def _scale_branches(network: nn.Module, config: CrossModalNetConfig) -> None:
    """Scale down the initial weights of the cross blocks' residual branches; Eq. 2 and 3 stay as they are."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, CrossTransformerBlock):
                module.mlp.fc2.weight.mul_(config.cross_scale)
                if module.residual == "standard":  # the attention is a branch beside the MLP
                    module.attention.value.weight.mul_(config.cross_scale)
