"""A level of VT-UNet's encoder or decoder: its blocks, and the keys and values that go from one to the other."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crossmodalnet.networks.vtunet.blocks import Memory, VTBlock

Memories = dict[bool, Memory]


class VTStage(nn.Module):
    """The blocks of a level, every second one shifted, then a change of resolution if there is one.

    Args:
        blocks: plain, shifted, plain, ...
        downsample: way to the next level, in the encoder.
        upsample: way to the level before, in the decoder.
        checkpointing: recompute the blocks' activations in the backward pass.
    """

    def __init__(
        self,
        blocks: list[VTBlock],
        *,
        downsample: nn.Module | None = None,
        upsample: nn.Module | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample
        self.upsample = upsample
        self.checkpointing = checkpointing

    def forward(self, x: Tensor, memories: Memories | None = None) -> tuple[Tensor, Memories]:
        """Map `(b, d, h, w, c)` to the same shape, or that of the next level.

        Args:
            x: the map.
            memories: in the decoder, what the encoder's stage of the same level returned.

        Returns:
            the map; keys and values of the last plain (False) and of the last shifted (True) block.
        """
        made: Memories = {}
        for i, block in enumerate(self.blocks):
            shifted = i % 2 == 1
            memory = memories[shifted] if memories else None
            if self.checkpointing and torch.is_grad_enabled():
                x, made[shifted] = checkpoint(block, x, memory, use_reentrant=False)
            else:
                x, made[shifted] = block(x, memory)
        for resample in (self.downsample, self.upsample):
            x = x if resample is None else resample(x)
        return x, made
