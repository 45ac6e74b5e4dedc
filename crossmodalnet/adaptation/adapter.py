"""JADA on CrossModalNet: one forward pass over both domains gives logits and all that aligns the domains."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.adaptation.betti import STRUCTURE_PRIORS, betti_loss
from crossmodalnet.adaptation.conditional import ConditionalMap, entropy_weights
from crossmodalnet.adaptation.discriminators import (
    PatchDiscriminator,
    VectorDiscriminator,
    domain_accuracy,
    domain_loss,
)
from crossmodalnet.adaptation.entropy import self_information
from crossmodalnet.adaptation.jmmd import joint_mmd
from crossmodalnet.adaptation.prototypes import prototype_distance
from crossmodalnet.adaptation.pseudo_labels import pseudo_label_loss
from crossmodalnet.adaptation.reversal import branch
from crossmodalnet.adaptation.settings import AdaptationSettings
from crossmodalnet.adaptation.spanning_tree import topology_loss
from crossmodalnet.adaptation.taps import tapped
from crossmodalnet.adaptation.volumes import VolumePrior
from crossmodalnet.adaptation.voxels import DrawnVoxels, draw_voxels, rows
from crossmodalnet.networks.common.interfaces import LayeredNetwork, Streams

# Shares of right answers of the discriminators (0.5: the domains look alike), and how far apart the classes'
# mean features are between the domains (1: as far as different classes of the source).
MEASURES = ("marginal_accuracy", "conditional_accuracy", "prototype_distance")

# The terms that branch off the logits.
AT_OUTPUT = ("output", "self_training", "volumes", "betti")

Maps = list[Tensor]  # of the streams, (b, c, d, h, w) each


class AdaptationNetwork(nn.Module):
    """CrossModalNet with the discriminators that JADA trains against it.

    Minimise the supervised loss of the logits plus the sum of the terms: the discriminators learn to tell the
    domains apart, while the network gets their gradients reversed, by ramp and strength, and capped where they
    branch off (`reversal.branch`). Terms are of the samples given, so those of several processes differ a
    little from those of one.

    Args:
        network: network of one or two streams.
        settings: strengths of the terms and sizes of their parts.
        num_classes: background included.

    Raises:
        ValueError: the network has no such decoder level.
    """

    def __init__(self, network: LayeredNetwork, settings: AdaptationSettings, num_classes: int) -> None:
        super().__init__()
        levels, streams = len(network.decoder), len(network.inputs)
        if not 0 <= settings.decoder_level < levels:
            raise ValueError(
                f"decoder_level must be from 0 to {levels - 1}, the network's coarsest decoder level, "
                f"got {settings.decoder_level}"
            )
        self.network = network
        self.settings = settings
        dim, deepest = _dim(network, settings.decoder_level), 2 * _dim(network, levels - 1)
        width = settings.width
        if settings.marginal:
            self.bottleneck = nn.ModuleList(
                PatchDiscriminator(deepest, width, stride=1) for _ in range(streams)
            )
            self.decoder = nn.ModuleList(PatchDiscriminator(dim, width, stride=2) for _ in range(streams))
        if settings.conditional and settings.conditional_by == "discriminator":
            self.map = ConditionalMap(streams * dim, num_classes, settings.map_dim)
            self.conditional = VectorDiscriminator(self.map.out_dim, 2 * width)
        if settings.output:
            self.output = PatchDiscriminator(num_classes, width, stride=2)
        if settings.volumes:
            self.volumes = VolumePrior()

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that `forward` gives."""
        return self.settings.active()

    def discriminator_parameters(self) -> list[nn.Parameter]:
        """All parameters but the network's."""
        network = {id(parameter) for parameter in self.network.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in network]

    def forward(
        self,
        source: Tensor,
        target: Tensor | None = None,
        label: Tensor | None = None,
        *,
        ramp: float = 0.0,
        reference: Tensor | None = None,
        betti: bool = False,
    ) -> tuple[Tensor | list[Tensor], Tensor, Tensor]:
        """Run both domains through the network.

        With deep supervision, all terms are of the finest logits, those that the network gives in use; the coarser
        ones of the source serve its labels alone.

        Args:
            source: labelled images `(s, 2, D, H, W)`.
            target: unlabelled images `(t, 2, D, H, W)`; None: the source alone, terms are 0 and measures NaN.
            label: labels of the source, class indices `(s, D, H, W)`; None without a target.
            ramp: multiplies all strengths, 0 to 1.
            reference: features that `decoder_features` gives for `source` with a slowly moving network; None leaves the
                topology out of this step.
            betti: whether the Betti numbers are looked at in this step.

        Returns:
            logits of the source `(s, num_classes, D, H, W)`, a list of them, finest first, where the network gives
            one (deep supervision), the terms `(len(terms),)`, and the measures without
            gradient `(len(MEASURES),)`.
        """
        if target is None or label is None:
            logits = self.network(source)
            terms = torch.zeros(len(self.terms), device=source.device)
            return logits, terms, torch.full((len(MEASURES),), torch.nan, device=source.device)
        strengths = {term: ramp * self.settings.signed(term) for term in self.terms}
        count, cap = len(source), self.settings.cap
        deep: dict[str, Maps] = {}
        fine: dict[str, Maps] = {}

        def tap(into: dict[str, Maps], names: tuple[str, ...]) -> Callable[[Streams], Streams]:
            active = [name for name in names if name in strengths]

            def split(streams: Streams) -> Streams:
                ways = [branch(x, count, [strengths[name] for name in active], cap) for x in streams]
                into["features"] = [way[0].movedim(-1, 1) for way in ways]
                into.update({n: [way[i + 1].movedim(-1, 1) for way in ways] for i, n in enumerate(active)})
                return tuple(way[0] for way in ways)

            return split

        level = self.settings.decoder_level
        with tapped({
            _last(self.network.encoder[-1]): tap(deep, ("marginal",)),
            _last(self.network.decoder[level]): tap(fine, ("marginal", "conditional", "topology")),
        }):  # fmt: skip
            outputs = self.network(torch.cat([source, target]))
        finest, coarser = (outputs[0], outputs[1:]) if isinstance(outputs, list) else (outputs, None)
        logits, *ways = branch(finest, count, [strengths.get(name, 0.0) for name in AT_OUTPUT], cap)
        branches = dict(zip(AT_OUTPUT, ways, strict=True))
        d, h, w = fine["features"][0].shape[2:]
        posteriors = functional.adaptive_avg_pool3d(branches["output"].float().softmax(1), (d, h, w))
        drawn = draw_voxels(posteriors, label, self.settings.voxels_per_class)
        zero, nothing = torch.zeros((), device=logits.device), torch.full((), torch.nan, device=logits.device)
        losses, accuracy = dict.fromkeys(self.terms, zero), {"marginal": nothing, "conditional": nothing}
        if "marginal" in strengths:
            losses["marginal"], accuracy["marginal"] = self._marginal(
                deep["marginal"], fine["marginal"], count
            )
        if "conditional" in strengths:
            losses["conditional"], accuracy["conditional"] = self._conditional(
                fine["conditional"], count, drawn
            )
        if "output" in strengths:
            judged = self.output(self_information(posteriors))
            losses["output"] = domain_loss(judged[:count], judged[count:])
        if "topology" in strengths and reference is not None:
            losses["topology"] = self._topology(fine["topology"], reference, drawn)
        if "self_training" in strengths:
            losses["self_training"] = pseudo_label_loss(
                branches["self_training"][count:], self.settings.confidence
            )
        if "volumes" in strengths:
            losses["volumes"] = self.volumes(label, branches["volumes"][count:])
        if "betti" in strengths and betti:
            losses["betti"] = self._betti(branches["betti"][count:], (d, h, w))
        source_rows, target_rows = _pick(fine["features"], count, drawn)
        distance = prototype_distance(
            source_rows.detach(),
            drawn.source_classes,
            target_rows.detach(),
            drawn.target_classes,
            logits.shape[1],
        )
        measures = [accuracy["marginal"], accuracy["conditional"], distance]
        supervised = logits[:count]
        return (
            supervised if coarser is None else [supervised, *(level[:count] for level in coarser)],
            torch.stack([loss.float() for loss in losses.values()]) if losses else zero[None][:0],
            torch.stack([value.detach().float() for value in measures]),
        )

    def _marginal(self, deep: Maps, fine: Maps, count: int) -> tuple[Tensor, Tensor]:
        logits = [
            judge(_normalised(maps))
            for judges, features in ((self.bottleneck, deep), (self.decoder, fine))
            for judge, maps in zip(judges, features, strict=True)
        ]
        pairs = [(x[:count], x[count:]) for x in logits]
        loss = torch.stack([domain_loss(s, t) for s, t in pairs]).mean()
        return loss, torch.stack([domain_accuracy(s, t) for s, t in pairs]).mean()

    def _conditional(self, fine: Maps, count: int, drawn: DrawnVoxels) -> tuple[Tensor, Tensor]:
        source, target = (
            torch.cat([functional.layer_norm(own, own.shape[1:]) for own in of_stream], 1)
            for of_stream in zip(*(_pick([maps], count, drawn) for maps in fine), strict=True)
        )
        if self.settings.conditional_by == "kernel":
            loss = joint_mmd(source, drawn.source_posteriors, target, drawn.target_posteriors)
            return loss, torch.full_like(loss, torch.nan)
        s = self.conditional(self.map(source, drawn.source_posteriors))
        t = self.conditional(self.map(target, drawn.target_posteriors))
        weights = entropy_weights(drawn.source_posteriors), entropy_weights(drawn.target_posteriors)
        return domain_loss(s, t, *weights), domain_accuracy(s, t)

    def _topology(self, fine: Maps, reference: Tensor, drawn: DrawnVoxels) -> Tensor:
        few = self._few(drawn.source_classes)
        now = torch.cat([rows(maps[: len(reference)])[drawn.source[few]] for maps in fine], 1)
        return topology_loss(now, rows(reference)[drawn.source[few]])

    def _few(self, classes: Tensor) -> Tensor:
        """The first few of voxels ordered by class, from each class: trees take the square of their number."""
        first = torch.searchsorted(classes, classes)
        rank = torch.arange(len(classes), device=classes.device) - first
        return (rank < self.settings.tree_voxels_per_class).nonzero()[:, 0]

    def _betti(self, logits: Tensor, size: tuple[int, int, int]) -> Tensor:
        probabilities = functional.adaptive_avg_pool3d(logits.float().softmax(1), size)
        return torch.stack([betti_loss(one[1:], STRUCTURE_PRIORS) for one in probabilities]).mean()


def decoder_features(network: LayeredNetwork, image: Tensor, level: int) -> Tensor:
    """Give the features of a decoder level, all streams together, `(b, c, d, h, w)`, without gradient."""
    found: Maps = []

    def keep(streams: Streams) -> Streams:
        found.extend(x.movedim(-1, 1) for x in streams)
        return streams

    with torch.no_grad(), tapped({_last(network.decoder[level]): keep}):
        network(image)
    return torch.cat(found, 1)


def _normalised(maps: Tensor) -> Tensor:
    """Scale each voxel's features `(b, c, d, h, w)` to mean 0 and variance 1.

    Their length drifts in training, and a discriminator of bounded slope would follow it instead of what they say.
    """
    return functional.layer_norm(maps.movedim(1, -1).float(), maps.shape[1:2]).movedim(-1, 1)


def _pick(maps: Maps, count: int, drawn: DrawnVoxels) -> tuple[Tensor, Tensor]:
    """Give the drawn voxels' features of all streams together, of the source and of the target."""
    return (
        torch.cat([rows(x[:count])[drawn.source] for x in maps], 1).float(),
        torch.cat([rows(x[count:])[drawn.target] for x in maps], 1).float(),
    )


def _dim(network: LayeredNetwork, level: int) -> int:
    """Channels of a stream at a decoder level: those that its layers normalise, token by token."""
    norms = (module for module in network.decoder[level].modules() if isinstance(module, nn.LayerNorm))
    return next(norms).normalized_shape[0]


def _last(layers: nn.Module) -> nn.Module:
    assert isinstance(layers, nn.ModuleList)
    return layers[-1]
