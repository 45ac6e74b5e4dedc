"""Section `network`: one part per network."""

from pydantic import Field

from crossmodalnet.config import Config
from pipeline.config.baselines import (
    MedNeXtConfig,
    NNFormerConfig,
    ResEncUNetConfig,
    SwinUnetConfig,
    SwinUNETRConfig,
    VTUNetConfig,
)
from pipeline.config.network import CrossModalNetSection, NetworkSection


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
