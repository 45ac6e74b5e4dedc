"""Changes of resolution in VT-UNet: patches to tokens and back, and H and W (never D) halved and doubled."""

from einops import rearrange
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple, padded_size


class VTPatchEmbed(nn.Module):
    """Voxels to tokens: one linear map per patch, then layer norm.

    Example: patch 4, x (1, 2, 128, 128, 128) -> (1, 32, 32, 32, 48).
    """

    def __init__(self, in_channels: int, dim: int, patch: Triple) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv3d(in_channels, dim, kernel_size=patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, c, D, H, W)`, zeros added at the far ends for whole patches, to `(b, d, h, w, dim)`."""
        size: Triple = (x.shape[2], x.shape[3], x.shape[4])
        far = [p - n for n, p in zip(size, padded_size(size, self.patch), strict=True)]
        tokens = self.proj(nn.functional.pad(x, (0, far[2], 0, far[1], 0, far[0])))
        embedded: Tensor = self.norm(tokens.permute(0, 2, 3, 4, 1))
        return embedded


class PatchMerge(nn.Module):
    """Join 2 x 2 neighbours of H and W: `(b, d, h, w, c)` to `(b, d, ceil(h / 2), ceil(w / 2), 2 c)`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Halve H and W, of which an odd one gets a row of zeros at its far end."""
        x = nn.functional.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        x = rearrange(x, "b d (h i) (w j) c -> b d h w (j i c)", i=2, j=2)
        merged: Tensor = self.reduction(self.norm(x))
        return merged


class PatchExpand(nn.Module):
    """Split each token into 2 x 2 along H and W: `(b, d, h, w, c)` to `(b, d, 2 h, 2 w, c / 2)`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(dim // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Double H and W."""
        x = rearrange(self.expand(x), "b d h w (i j c) -> b d (h i) (w j) c", i=2, j=2)
        expanded: Tensor = self.norm(x)
        return expanded


class FinalExpand(nn.Module):
    """Tokens to voxels: `(b, d, h, w, c)` to `(b, D, H, W, c)` of whole patches."""

    def __init__(self, dim: int, patch: Triple) -> None:
        super().__init__()
        self.patch = patch
        self.expand = nn.Linear(dim, patch[0] * patch[1] * patch[2] * dim, bias=False)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Split each token into the voxels of its patch."""
        i, j, k = self.patch
        x = rearrange(self.expand(x), "b d h w (i j k c) -> b (d i) (h j) (w k) c", i=i, j=j, k=k)
        expanded: Tensor = self.norm(x)
        return expanded
