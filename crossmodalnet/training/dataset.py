"""Training set in memory; every sample is a pure function of seed, epoch and position.

So any number of processes sees the same batches, and a resumed epoch continues with the same batches.
"""

import math
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodalnet.imaging.samples import (
    CT,
    MR,
    Batch,
    LabelledCase,
    Misregistration,
    centre_crop,
    pad_to,
    random_misregistration,
    without,
)
from crossmodalnet.training.augmentation import Augmenter
from crossmodalnet.training.config import AugmentationConfig

# Share of patches centred on a structure.
FOREGROUND_SHARE = 0.67
# A rotated patch needs voxels beyond its faces; a quarter more allows about 20 degrees.
CONTEXT = 1.25
# Separate the random streams of these draws; not 0, since seeds that differ by trailing zeros are the same.
_LOSS, _MISREGISTRATION = 1, 2

Region = tuple[slice, slice, slice]


def epoch_order(num_cases: int, samples_per_case: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Order the case indices of an epoch: rounds over all cases, each shuffled again."""
    random = np.random.default_rng([seed, epoch])
    return np.concatenate([random.permutation(num_cases) for _ in range(samples_per_case)])


def sample_seed(seed: int, *position: int) -> int:
    """Mix a seed and a position into 32 bits."""
    return int(np.random.SeedSequence([seed, *position]).generate_state(1)[0])


def draw_region(
    label: Tensor,
    size: tuple[int, int, int],
    random: np.random.RandomState,
    *,
    foreground_share: float = FOREGROUND_SHARE,
    context: float = CONTEXT,
) -> Region:
    """Draw the region that a patch is cropped from, an even number of voxels larger: the centre crop is exact.

    Args:
        label: class indices `(d, h, w)`, at least as large as the patch.
        foreground_share: probability that the region is centred on a voxel of a random structure.
        context: size of the region relative to the patch, at least 1; less where the case is smaller.
    """
    centre = [random.randint(n) for n in label.shape]
    if random.uniform() < foreground_share and (structures := torch.unique(label[label > 0]).tolist()):
        voxels = torch.nonzero(label == structures[random.randint(len(structures))])
        centre = voxels[random.randint(len(voxels))].tolist()
    return tuple(_span(n, m, c, context) for n, m, c in zip(label.shape, size, centre, strict=True))  # type: ignore[return-value]


def _span(available: int, patch: int, centre: int, context: float) -> slice:
    length = min(math.ceil(patch * context), available)
    length -= (length - patch) % 2
    start = min(max(centre - length // 2, 0), available - length)
    return slice(start, start + length)


def draw_loss(probability: float, random: np.random.RandomState) -> int | None:
    """Draw the channel that a sample loses, `CT` or `MR` with equal probability; None keeps both."""
    return (CT, MR)[random.randint(2)] if random.uniform() < probability else None


def draw_misregistration(config: AugmentationConfig, random: np.random.RandomState) -> Misregistration | None:
    """Draw the misregistration of an MR, shift and angle uniform up to their bounds; None for none."""
    if random.uniform() >= config.misregistration_probability:
        return None
    voxels = random.uniform(0, config.misregistration_voxels)
    return random_misregistration(voxels, random.uniform(0, config.misregistration_degrees), random)


class TrainingSet:
    """Cases in memory, from which augmented patches are drawn.

    Args:
        augmentation: None turns it off. Only samples that keep both images are misregistered: without CT the label is
            the MR's.
        patch_size: voxels; smaller cases are padded by repeating their border.
        batch_size: global, over all processes.
        modality_dropout: probability, below 1, that a pair loses its CT or MR, which becomes `MISSING`. A case without
            `mr_label` never loses its CT.

    Raises:
        ValueError: no case.

    >>> case = LabelledCase("one", torch.rand(2, 16, 16, 16), torch.zeros(16, 16, 16, dtype=torch.uint8))
    >>> cases = TrainingSet([case], augmentation=None, patch_size=(8, 8, 8), samples_per_case=4, seed=0, batch_size=2)
    >>> [batch.image.shape for batch in cases.batches(epoch=0)]
    [torch.Size([2, 2, 8, 8, 8]), torch.Size([2, 2, 8, 8, 8])]
    """

    def __init__(
        self,
        cases: Sequence[LabelledCase],
        *,
        augmentation: AugmentationConfig | None,
        patch_size: tuple[int, int, int],
        samples_per_case: int,
        seed: int,
        batch_size: int,
        modality_dropout: float = 0.0,
    ) -> None:
        if not cases:
            raise ValueError("a training set needs at least one case")
        self._cases = [_padded(case, patch_size) for case in cases]
        self._augmentation = augmentation
        self._patch_size = patch_size
        self._samples_per_case = samples_per_case
        self._seed = seed
        self._batch_size = batch_size
        self._modality_dropout = modality_dropout
        self._local = threading.local()

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch; the last one is filled up with the epoch's first cases, augmented again."""
        return -(-len(self._cases) * self._samples_per_case // self._batch_size)

    def batches(
        self, epoch: int, *, first_step: int = 0, rank: int = 0, world_size: int = 1, threads: int = 1
    ) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch for one process, prefetching one; `threads` does not change the samples.

        Args:
            rank: process number; gets the `rank`-th share of every global batch.
            world_size: number of processes, a divisor of the batch size.
        """
        share = self._batch_size // world_size
        order = epoch_order(len(self._cases), self._samples_per_case, self._seed, epoch)
        with ThreadPoolExecutor(threads, thread_name_prefix="augment") as pool:

            def submit(step: int) -> list[Future[LabelledCase]]:
                first = step * self._batch_size + rank * share
                positions = range(first, first + share)
                return [pool.submit(self.sample, int(order[p % len(order)]), epoch, p) for p in positions]

            steps = range(first_step, self.steps_per_epoch)
            waiting = submit(steps[0]) if steps else []
            for step in steps:
                ready, waiting = waiting, submit(step + 1) if step + 1 < self.steps_per_epoch else []
                yield _collate([future.result() for future in ready])

    def stream(
        self, first_step: int, *, rank: int = 0, world_size: int = 1, threads: int = 1
    ) -> Generator[Batch, None, None]:
        """Yield batches without end, epoch after epoch; `first_step` counts over all epochs."""
        epoch, step = divmod(first_step, self.steps_per_epoch)
        while True:
            yield from self.batches(epoch, first_step=step, rank=rank, world_size=world_size, threads=threads)
            epoch, step = epoch + 1, 0

    def sample(self, index: int, epoch: int, position: int) -> LabelledCase:
        """Draw the sample of case `index` at a position of an epoch."""
        case, size = self._cases[index], self._patch_size
        lost, label = self._lose(case, epoch, position)
        random = np.random.RandomState(sample_seed(self._seed, epoch, position))
        image = case.image
        if tuple(label.shape) != size:
            region = draw_region(label, size, random)
            image, label = image[(slice(None), *region)], label[region]
        if self._augmentation is None:
            image, label = centre_crop(image, size), centre_crop(label, size)
        else:
            if not hasattr(self._local, "augmenter"):
                self._local.augmenter = Augmenter(self._augmentation)
            displacement = None if lost is not None else self._misregistration(case, epoch, position)
            image, label = self._local.augmenter(image, label, size, random, displacement)
        return LabelledCase(case.name, image if lost is None else without(image, lost), label)

    def _lose(self, case: LabelledCase, epoch: int, position: int) -> tuple[int | None, Tensor]:
        """Draw the channel that a sample loses, if any, and return it with the label of the sample."""
        if case.single or not self._modality_dropout:
            return None, case.label
        random = np.random.RandomState(sample_seed(self._seed, epoch, position, _LOSS))
        lost = draw_loss(self._modality_dropout, random)
        if lost != CT:
            return lost, case.label
        # The CT's label would teach what the MR does not show.
        return (None, case.label) if case.mr_label is None else (CT, case.mr_label)

    def _misregistration(self, case: LabelledCase, epoch: int, position: int) -> Misregistration | None:
        if case.single or self._augmentation is None or not self._augmentation.misregistration_probability:
            return None
        random = np.random.RandomState(sample_seed(self._seed, epoch, position, _MISREGISTRATION))
        return draw_misregistration(self._augmentation, random)


def _padded(case: LabelledCase, size: tuple[int, int, int]) -> LabelledCase:
    def pad(label: Tensor) -> Tensor:
        return pad_to(label[None].float(), size)[0].to(label.dtype)

    mr_label = None if case.mr_label is None else pad(case.mr_label)
    return replace(case, image=pad_to(case.image, size), label=pad(case.label), mr_label=mr_label)


def _collate(samples: list[LabelledCase]) -> Batch:
    return Batch(
        tuple(sample.name for sample in samples),
        torch.stack([sample.image for sample in samples]),
        torch.stack([sample.label for sample in samples]).long(),
    )
