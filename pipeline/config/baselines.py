"""Parameters of the comparison networks: subsections of `network`."""

from typing import Literal

from pydantic import Field

from pipeline.config.network import NetworkSection

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
