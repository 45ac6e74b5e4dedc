"""Term `volumes`: relative volumes of the target's structures are on average those of the source's labels."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.config import AdaptationSettings
from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term, TermValue

# What is compared: blood of the left side, of the right side, myocardium. Atrium and ventricle of a side count
# together, as the plane of the valve between them shows in neither modality, and a share of their own moves it
# (docs/adaptation_results.md). The vessels are left out: how much of them lies in an image, its box says and not
# anatomy.
COMPARED: tuple[tuple[int, ...], ...] = tuple(
    tuple(ABBREVIATIONS.index(name) + 1 for name in names) for names in (("LV", "LA"), ("RV", "RA"), ("Myo",))
)


class VolumesTerm(Term):
    """The mean shares of left blood, right blood and myocardium in the target, against the source's."""

    name = "volumes"
    places = ("output",)

    def __init__(self, network: LayeredNetwork, settings: AdaptationSettings, num_classes: int) -> None:
        super().__init__(network, settings, num_classes)
        self.prior = VolumePrior()

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> TermValue:
        """Take the step's volumes into the means, and compare them."""
        (logits,) = views["output"]
        return TermValue(self.prior(domains.label, logits[domains.num_source :]))


class VolumePrior(nn.Module):
    """How far the shares of groups of structures in the target are from those in the source's labels.

    Where a boundary shows in the source and not in the target, every image is wrong the same way: the structure
    runs out into its neighbour. No term that compares features sees it. What share of the heart a structure has,
    anatomy tells, and the source's labels know (class-ratio prior: Bateson et al., MICCAI 2020; volumes within
    bounds: Kervadec et al., Medical Image Analysis 2019). Means of many images are compared, never one image with
    a mean, so that people may differ as they do; shares of all groups together and not of the image, so that boxes and
    people of another size change nothing; and what lies within the tolerance costs nothing, as means of a dozen people
    differ by so much.

    It holds where both domains show the same kind of people.

    Running means are buffers, kept in checkpoints; of several processes' samples those of the first count.
    """

    source: Tensor
    target: Tensor
    seen: Tensor

    def __init__(
        self, groups: Sequence[Sequence[int]] = COMPARED, *, tolerance: float = 0.05, decay: float = 0.95
    ) -> None:
        """Start without a mean.

        Args:
            groups: class indices that count together; classes of none count nowhere.
            tolerance: tolerance of the logarithm of the ratio of two shares; at least 0.
            decay: decay of the running means, after as many batches as make it matter; 0 to below 1.

        Raises:
            ValueError: fewer than two groups, an empty one, or another value out of range.
        """
        super().__init__()
        if len(groups) < 2 or not all(groups):
            raise ValueError(f"groups must be at least two, none of them empty, got {groups}")
        if tolerance < 0:
            raise ValueError(f"tolerance must be at least 0, got {tolerance}")
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {decay}")
        self.groups = groups
        self.tolerance = tolerance
        self.decay = decay
        for name in ("source", "target"):
            self.register_buffer(name, torch.zeros(len(groups)))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, label: Tensor, logits: Tensor) -> Tensor:
        """Take a batch of each domain into the means, and compare them.

        Args:
            label: labels of the source, class indices `(s, d, h, w)`.
            logits: logits of the target, `(t, k, d, h, w)`, k above every index of the groups.

        Returns:
            Scalar: of the logarithms of the ratios of the shares what exceeds the tolerance, squared, mean over the
            groups; a group that is nowhere counts as one voxel per image. Its gradient is that of this batch
            alone.
        """
        own = self._grouped(torch.bincount(label.flatten(), minlength=logits.shape[1]) / len(label))
        now = self._grouped(logits.float().softmax(1).sum((2, 3, 4)).mean(0))
        # A plain mean of the first batches, then one that forgets.
        rate = (1 / (self.seen + 1)).clamp_min(1 - self.decay)
        source, target = torch.lerp(self.source, own, rate), torch.lerp(self.target, now.detach(), rate)
        if self.training:
            self.source.copy_(source)
            self.target.copy_(target)
            self.seen += 1
        # The running mean's value with this batch's whole gradient, which would otherwise be `rate` of it.
        target = target + now - now.detach()
        ratio = _log_shares(target) - _log_shares(source)
        return (ratio.abs() - self.tolerance).clamp_min(0).square().mean()

    def _grouped(self, voxels: Tensor) -> Tensor:
        return torch.stack([voxels[list(group)].sum() for group in self.groups])


def _log_shares(voxels: Tensor) -> Tensor:
    counted = voxels + 1
    return (counted / counted.sum()).log()
