"""Section `network`: one part per network."""

from pydantic import Field

from crossmodalnet.config import Config
from pipeline.config.baselines import (
    MedNeXtParams,
    NNFormerParams,
    ResEncUNetParams,
    SwinUnetParams,
    SwinUNETRParams,
    VTUNetParams,
)
from pipeline.config.network import CrossModalNetParams, NetworkSection


class NetworkParams(Config):
    """Section `network`: one part per model, so that changing one retrains only that one."""

    crossmodalnet: CrossModalNetParams = Field(CrossModalNetParams(), description="the network of the paper")
    vtunet: VTUNetParams = Field(VTUNetParams(), description="VT-UNet (Peiris et al. 2022)")
    swin_unet: SwinUnetParams = Field(SwinUnetParams(), description="Swin-Unet (Cao et al. 2021), 2-D")
    swin_unetr: SwinUNETRParams = Field(
        SwinUNETRParams(), description="Swin UNETR (Hatamizadeh et al. 2022), from MONAI"
    )
    nnformer: NNFormerParams = Field(NNFormerParams(), description="nnFormer (Zhou et al. 2021)")
    mednext: MedNeXtParams = Field(MedNeXtParams(), description="MedNeXt (Roy et al. 2023), from MONAI")
    resenc_unet: ResEncUNetParams = Field(
        ResEncUNetParams(), description="residual-encoder U-Net of nnU-Net (Isensee et al. 2024)"
    )


NETWORKS: dict[str, type[NetworkSection]] = {
    name: field.annotation
    for name, field in NetworkParams.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, NetworkSection)
}
