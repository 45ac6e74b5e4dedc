"""Section `network`: one subsection per network."""

from typing import Any, Literal

from pydantic import Field

from crossmodalnet.config import Config, NetworkConfig
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig


class VTUNetConfig(NetworkConfig):
    """Section `network.vtunet`."""

    size: Literal["small", "c48", "c72", "c96"] = Field(
        "small", description="size; small: for the phantom on a CPU; c48, c72, c96: as published, by channels"
    )

    def options(self) -> dict[str, Any]:
        """Return the builder's options; the `legacy` form of the published code is for the library only."""
        return super().options() | {"legacy": False}


class SwinUnetConfig(NetworkConfig):
    """Section `network.swin_unet`."""

    size: Literal["small", "published"] = Field(
        "small", description="size; small: for the phantom on a CPU; published: slice by slice"
    )


class SwinUNETRConfig(NetworkConfig):
    """Section `network.swin_unetr`."""

    size: Literal["small", "small_v2", "f24", "f48", "v2"] = Field(
        "small", description="size; small, small_v2: for the phantom on a CPU; f24, f48, v2: as published, by features"
    )


class NNFormerConfig(NetworkConfig):
    """Section `network.nnformer`."""

    size: Literal["small", "synapse", "tumor", "acdc"] = Field(
        "small", description="size; small: for the phantom on a CPU; synapse, tumor, acdc: as published"
    )

    def options(self) -> dict[str, Any]:
        """Return the builder's options; the `legacy` form of the published code is for the library only."""
        return super().options() | {"legacy": False}


class MedNeXtConfig(NetworkConfig):
    """Section `network.mednext`."""

    size: Literal["small", "small_v2", "s", "b", "m", "l"] = Field(
        "small", description="size; small, small_v2: for the phantom on a CPU; s, b, m, l: as published, kernel 3"
    )


class ResEncUNetConfig(NetworkConfig):
    """Section `network.resenc_unet`."""

    size: Literal["small", "m"] = Field(
        "small", description="size; small: for the phantom on a CPU; m: as nnU-Net plans it for 128^3"
    )


class PrimusConfig(NetworkConfig):
    """Section `network.primus`."""

    size: Literal["small", "s", "b", "m", "l"] = Field(
        "small", description="size; small: for the phantom on a CPU; s, b, m, l: as published"
    )


class NetworksConfig(Config):
    """Section `network`: one subsection per network, so a change retrains only that network."""

    crossmodalnet: CrossModalNetConfig = Field(
        CrossModalNetConfig(), title="CrossModalNet", description="the paper's network"
    )
    vtunet: VTUNetConfig = Field(VTUNetConfig(), title="VT-UNet", description="VT-UNet (Peiris et al. 2022)")
    swin_unet: SwinUnetConfig = Field(
        SwinUnetConfig(), title="Swin-Unet", description="Swin-Unet (Cao et al. 2021), 2-D"
    )
    swin_unetr: SwinUNETRConfig = Field(
        SwinUNETRConfig(), title="Swin UNETR", description="Swin UNETR (Hatamizadeh et al. 2022), from MONAI"
    )
    nnformer: NNFormerConfig = Field(NNFormerConfig(), title="nnFormer", description="nnFormer (Zhou et al. 2021)")
    mednext: MedNeXtConfig = Field(
        MedNeXtConfig(), title="MedNeXt", description="MedNeXt (Roy et al. 2023), from MONAI"
    )
    resenc_unet: ResEncUNetConfig = Field(
        ResEncUNetConfig(),
        title="Residual-encoder U-Net (nnU-Net)",
        description="residual-encoder U-Net of nnU-Net (Isensee et al. 2024)",
    )
    primus: PrimusConfig = Field(PrimusConfig(), title="PrimusV2", description="PrimusV2 (Wald et al. 2025)")


NETWORKS: dict[str, type[NetworkConfig]] = {
    name: field.annotation
    for name, field in NetworksConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, NetworkConfig)
}
