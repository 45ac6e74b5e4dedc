"""Term `volumes`: relative volumes of the target's structures match those of the source's labels, on average."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term

# Blood of the left side, of the right side, myocardium. Atrium and ventricle of a side count together, since the
# plane of the valve between them shows in neither modality. The vessels are left out: the ROI decides how much of
# them an image holds.
COMPARED: tuple[tuple[int, ...], ...] = tuple(
    tuple(ABBREVIATIONS.index(name) + 1 for name in names) for names in (("LV", "LA"), ("RV", "RA"), ("Myo",))
)
# Difference of the logarithms of two shares that costs nothing: means of a dozen people differ by this much.
TOLERANCE = 0.05
# EMA decay of the mean volumes.
DECAY = 0.95


class VolumesTerm(Term):
    """The mean shares of left blood, right blood and myocardium in the target, against the source's."""

    name = "volumes"
    places = ("output",)

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__(network, config, num_classes)
        self.prior = VolumePrior()

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take the step's volumes into the means, and compare them."""
        (logits,) = views["output"]
        return self.prior(domains.label, logits[domains.num_source :]), ()


class VolumePrior(nn.Module):
    """Penalty on the shares of groups of structures in the target that differ from the source's labels.

    Where a boundary shows in the source only, a structure leaks into its neighbour in every target image, which no
    term on features sees; volumes do (Bateson et al., MICCAI 2020; Kervadec et al., Medical Image Analysis 2019).
    Means over many images are compared, so that people may differ, and shares of all groups together, so that the
    size of ROI and person does not count. It assumes that both domains show the same kind of people.

    The means are buffers, kept in checkpoints; with several processes they are those of the first.

    Args:
        groups: class indices that count together.
        tolerance: tolerance of the logarithm of the ratio of two shares.
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
        """Update the means with a batch of each domain, and compare them.

        Args:
            label: labels of the source, class indices `(s, d, h, w)`.
            logits: logits of the target, `(t, k, d, h, w)`.

        Returns:
            Scalar, the mean over groups of the squared excess of the log ratio of shares over the tolerance; an
            absent group counts as one voxel per image. Its gradient is that of this batch alone.
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
        # The EMA's value with this batch's whole gradient, which would otherwise be `rate` of it.
        target = target + now - now.detach()
        ratio = _log_shares(target) - _log_shares(source)
        return (ratio.abs() - self.tolerance).clamp_min(0).square().mean()

    def _grouped(self, voxels: Tensor) -> Tensor:
        return torch.stack([voxels[list(group)].sum() for group in self.groups])


def _log_shares(voxels: Tensor) -> Tensor:
    counted = voxels + 1
    return (counted / counted.sum()).log()
