"""Match the relative volumes of the target's structures to the source's labels on average: term `volumes`."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term

# Left blood, right blood, myocardium. Neither modality shows the valve plane between atrium and ventricle; the
# vessels are left out, since the ROI truncates them.
COMPARED: tuple[tuple[int, ...], ...] = tuple(
    tuple(ABBREVIATIONS.index(name) + 1 for name in names) for names in (("LV", "LA"), ("RV", "RA"), ("Myo",))
)
# Tolerated log ratio of two shares: means of a dozen people differ by this much.
TOLERANCE = 0.05
# EMA decay of the mean volumes.
DECAY = 0.95


class VolumesTerm(Term):
    """Match of the target's mean shares of left blood, right blood and myocardium to the source's."""

    name = "volumes"
    places = ("output",)

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__(network, config, num_classes)
        self.prior = VolumePrior()

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Update the mean volumes, and compare them."""
        (logits,) = views["output"]
        return self.prior(domains.label, logits[domains.num_source :]), ()


class VolumePrior(nn.Module):
    """Penalty on volume shares of class groups in the target that differ from the source's labels.

    Where only the source shows a boundary, a structure leaks into its neighbour in every target image; volumes reveal
    that and features do not (Bateson et al., MICCAI 2020; Kervadec et al., Medical Image Analysis 2019). It compares
    means over many images, and shares of all groups together, so that the size of ROI and patient does not count. It
    assumes similar populations in both domains. The means are buffers, kept in checkpoints; with several processes the
    first one's.
    """

    source: Tensor
    target: Tensor
    seen: Tensor

    def __init__(self, groups: Sequence[Sequence[int]] = COMPARED, *, tolerance: float = TOLERANCE) -> None:
        super().__init__()
        self.groups = groups
        self.tolerance = tolerance
        for name in ("source", "target"):
            self.register_buffer(name, torch.zeros(len(groups)))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, label: Tensor, logits: Tensor) -> Tensor:
        """Update the means with source labels `(s, d, h, w)` and target logits `(t, k, d, h, w)`, and compare them.

        The loss is the mean over groups of the squared excess of the log ratio of shares over the tolerance; an absent
        group counts as one voxel per image. Its gradient is that of this batch alone.
        """
        own = self._grouped(torch.bincount(label.flatten(), minlength=logits.shape[1]) / len(label))
        now = self._grouped(logits.float().softmax(1).sum((2, 3, 4)).mean(0))
        # A plain mean of the first batches, then an EMA.
        rate = (1 / (self.seen + 1)).clamp_min(1 - DECAY)
        source, target = torch.lerp(self.source, own, rate), torch.lerp(self.target, now.detach(), rate)
        if self.training:
            self.source.copy_(source)
            self.target.copy_(target)
            self.seen += 1
        # The EMA's value with this batch's full gradient instead of `rate` times it.
        target = target + now - now.detach()
        ratio = _log_shares(target) - _log_shares(source)
        return (ratio.abs() - self.tolerance).clamp_min(0).square().mean()

    def _grouped(self, voxels: Tensor) -> Tensor:
        return torch.stack([voxels[list(group)].sum() for group in self.groups])


def _log_shares(voxels: Tensor) -> Tensor:
    counted = voxels + 1
    return (counted / counted.sum()).log()
