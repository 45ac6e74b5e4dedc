"""Section `network`: one subsection per network."""

from typing import Annotated, Any, Literal

from pydantic import Field

from crossmodalnet import CrossModalNetConfig
from crossmodalnet.config import Config
from pipeline.config.option import option

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


CHECKPOINTING = "activations are computed anew in the backward pass: less memory, slower"


class PlainNetworkConfig(NetworkSection):
    """Section of a network that has no options of its own."""

    checkpointing: bool = Field(False, description=CHECKPOINTING)


class VTUNetConfig(NetworkSection):
    """Section `network.vtunet`."""

    size: Literal["small", "c48", "c72", "c96"] = Field(
        "small",
        description="size of the network; c48, c72, c96: as published, by channels; small: for the phantom on a CPU",
    )
    legacy: bool = Field(False, description="quirks of the published code are reproduced")
    checkpointing: bool = Field(False, description=CHECKPOINTING)


class SwinUnetConfig(NetworkSection):
    """Section `network.swin_unet`."""

    size: Literal["small", "published"] = Field(
        "small",
        description="size of the network; published: as published, slice by slice; small: for the phantom on a CPU",
    )
    checkpointing: bool = Field(False, description=CHECKPOINTING)


class SwinUNETRConfig(NetworkSection):
    """Section `network.swin_unetr`."""

    size: Literal["small", "f24", "f48"] = Field(
        "small",
        description="size of the network; f24, f48: as published, by features; small: for the phantom on a CPU",
    )
    checkpointing: bool = Field(False, description=CHECKPOINTING)


class NNFormerConfig(NetworkSection):
    """Section `network.nnformer`."""

    size: Literal["small", "synapse", "tumor", "acdc"] = Field(
        "small",
        description="size of the network; synapse, tumor, acdc: as published; small: for the phantom on a CPU",
    )
    legacy: bool = Field(False, description="quirks of the published code are reproduced")
    checkpointing: bool = Field(False, description=CHECKPOINTING)


class MedNeXtConfig(NetworkSection):
    """Section `network.mednext`."""

    size: Literal["small", "s", "b", "m", "l"] = Field(
        "small",
        description="size of the network; s, b, m, l: as published, kernel 3; small: for the phantom on a CPU",
    )
    checkpointing: bool = Field(False, description=CHECKPOINTING)


class ResEncUNetConfig(NetworkSection):
    """Section `network.resenc_unet`."""

    size: Literal["small", "m"] = Field(
        "small",
        description="size of the network; m: as nnU-Net plans it for 128^3; small: for the phantom on a CPU",
    )
    checkpointing: bool = Field(False, description=CHECKPOINTING)


class NetworkConfig(Config):
    """Section `network`: one part per model, so that changing one retrains only that one."""

    crossmodalnet: CrossModalNetSection = Field(
        CrossModalNetSection(), description="the network of the paper"
    )
    vtunet: VTUNetConfig = Field(VTUNetConfig(), description="VT-UNet (Peiris et al. 2022)")
    swin_unet: SwinUnetConfig = Field(SwinUnetConfig(), description="Swin-Unet (Cao et al. 2021), 2-D")
    swin_unetr: SwinUNETRConfig = Field(
        SwinUNETRConfig(), description="Swin UNETR (Hatamizadeh et al. 2022), from MONAI"
    )
    nnformer: NNFormerConfig = Field(NNFormerConfig(), description="nnFormer (Zhou et al. 2021)")
    mednext: MedNeXtConfig = Field(MedNeXtConfig(), description="MedNeXt (Roy et al. 2023), from MONAI")
    resenc_unet: ResEncUNetConfig = Field(
        ResEncUNetConfig(), description="residual-encoder U-Net of nnU-Net (Isensee et al. 2024)"
    )


NETWORKS: dict[str, type[NetworkSection]] = {
    name: field.annotation
    for name, field in NetworkConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, NetworkSection)
}
