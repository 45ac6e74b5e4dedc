"""A trained network used on a new patient's scans: from images to label maps on the scans' own grids."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodalnet.cropping.atlas import Atlas, load_atlases
from crossmodalnet.cropping.heart_box import Box, overflow_mm, working_grid
from crossmodalnet.data.missing import CT, MR, without
from crossmodalnet.imaging.downsample import sample_image
from crossmodalnet.imaging.intensity import stack_input
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.labels import STRUCTURES, Modality
from crossmodalnet.networks.common.card import LoadedModel, ModelCard, load_model
from crossmodalnet.prediction.components import keep_largest_component
from crossmodalnet.prediction.recipe import Recipe, read_recipe
from crossmodalnet.prediction.registered import (
    BackWork,
    BoxWork,
    Registered,
    RegisterWork,
    find_box,
    labels_on_mr,
    register_scans,
)
from crossmodalnet.prediction.restore import restore_labels
from crossmodalnet.prediction.scans import Scan, as_volume, doubts
from crossmodalnet.prediction.segment import segment
from crossmodalnet.processes.alone import run_alone
from crossmodalnet.registration.quality import Quality

ATLASES = "atlases.safetensors"
# Seed of the registration of atlases, as stage `crop` has it.
ATLAS_SEED = "1"
FOLDED_SHARE = 0.001


@dataclass(frozen=True)
class Prediction:
    """What was found in a patient's scans.

    Attributes:
        ct: CT as it was read; None where there is none.
        mr: MR as it was read; None likewise.
        ct_labels: class indices on the CT's grid; None without a CT.
        mr_labels: class indices on the MR's grid; None without an MR.
        box: heart box, world RAS, mm: of the CT's world, of the MR's where there is no CT.
        confidence: mean probability of each structure's voxels on the working grid, 0 to 1; NaN where it is missing.
        registration: quality of the registration of MR to CT; None for one scan.
        warnings: what a reader should look at, a sentence each.
    """

    ct: Volume | None
    mr: Volume | None
    ct_labels: Volume | None
    mr_labels: Volume | None
    box: Box
    confidence: dict[str, float]
    registration: Quality | None
    warnings: tuple[str, ...]


class Predictor:
    """Segments CT and MR of one patient together, or one of them where the network was trained for that.

    >>> Predictor.load("no such folder")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] not found: 'no such folder/card.json'

    Args:
        model: network in evaluation mode, and its card.
        recipe: how scans are prepared.
        atlases: what finds the heart; none where every call gives a box.
        device: device that the network runs on.
    """

    def __init__(
        self,
        model: LoadedModel,
        recipe: Recipe,
        atlases: Sequence[Atlas] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self._model = LoadedModel(model.network.to(device), model.card)
        self._recipe = recipe
        self._atlases = tuple(atlases)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: torch.device | str = "cpu") -> "Predictor":
        """Read a model folder: card, weights, recipe, and atlases where they were exported.

        Raises:
            FileNotFoundError: a file of the folder is missing.
            ValueError: a file is damaged or of another version; names it.
        """
        path = Path(folder)
        model, recipe = load_model(path), read_recipe(path)
        atlases = load_atlases(path / ATLASES) if (path / ATLASES).exists() else []
        return cls(model, recipe, atlases, device)

    @property
    def card(self) -> ModelCard:
        """Card of the model."""
        return self._model.card

    @property
    def has_atlases(self) -> bool:
        """Whether the heart is found without a box."""
        return bool(self._atlases)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What can be handed in: `CT + MR`, and `CT` or `MR` alone."""
        streams = self.card.network.get("streams", "both")
        if self.card.adaptation and self.card.adaptation.get("scenario") in ("ct_to_mr", "mr_to_ct"):
            return ("CT", "MR")
        if self.card.train.get("modality_dropout", 0) > 0:
            return ("CT + MR", "CT", "MR")
        return ("CT + MR",) if streams == "both" else ("CT + MR", streams.upper())

    def __call__(
        self,
        ct: Scan | None = None,
        mr: Scan | None = None,
        box: Box | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Prediction:
        """Segment a patient.

        Args:
            ct: CT in HU, see `as_volume`.
            mr: MR, likewise.
            box: heart box, in the world of the CT, or of the MR alone; found by the atlases where None.
            progress: is told each step before it begins.

        Raises:
            ValueError: a scan cannot be used, no heart is found, or the network cannot do with one modality.
            RuntimeError: the MR cannot be registered to the CT.
        """
        given = " + ".join(name for name, scan in (("CT", ct), ("MR", mr)) if scan is not None)
        if given not in self.modalities:
            what = " or ".join(self.modalities)
            raise ValueError(
                f"this model segments {what}, got {given or 'no scan'} (see train.modality_dropout)"
            )
        if box is None and not self._atlases:
            raise ValueError("this model has no atlases to find the heart with: give the heart box")
        progress("reading")
        ct_volume = None if ct is None else as_volume(ct, Modality.CT)
        mr_volume = None if mr is None else as_volume(mr, Modality.MR)
        warnings = [
            doubt
            for volume, modality in ((ct_volume, Modality.CT), (mr_volume, Modality.MR))
            if volume is not None
            for doubt in doubts(volume, modality)
        ]
        with TemporaryDirectory(prefix="crossmodalnet_") as scratch:
            progress(
                "registration and search for the heart" if given == "CT + MR" else "search for the heart"
            )
            registered, box = self._prepare(ct_volume, mr_volume, box, Path(scratch))
            progress("network")
            labels, confidence, more = self._segment(ct_volume, mr_volume, registered, box)
            ct_labels, mr_labels = (labels, None) if ct_volume else (None, labels)
            if ct_volume and mr_volume and registered:
                progress("label map on the MR's grid")
                mr_labels = run_alone(
                    labels_on_mr,
                    BackWork(labels, mr_volume, registered.transform),
                    environment=_seeded(ATLAS_SEED),
                )
        quality = registered.quality if registered else None
        return Prediction(
            ct=ct_volume,
            mr=mr_volume,
            ct_labels=ct_labels,
            mr_labels=mr_labels,
            box=box,
            confidence=confidence,
            registration=quality,
            warnings=(*warnings, *more, *_doubts_of(quality)),
        )

    def _prepare(
        self, ct: Volume | None, mr: Volume | None, box: Box | None, folder: Path
    ) -> tuple[Registered | None, Box]:
        """Register the MR, and find the heart."""
        recipe, registered = self._recipe, None
        if ct is not None and mr is not None:
            work = RegisterWork(ct, mr, recipe.align, folder)
            registered = run_alone(register_scans, work, environment=_seeded(str(recipe.align.seed)))
        if box is None:
            image, modality = (ct, Modality.CT) if ct is not None else (mr, Modality.MR)
            assert image is not None
            search = BoxWork(image, modality, self._atlases, recipe.atlas_spacing_mm)
            box = run_alone(find_box, search, environment=_seeded(ATLAS_SEED))
        return registered, box

    def _segment(
        self, ct: Volume | None, mr: Volume | None, registered: Registered | None, box: Box
    ) -> tuple[Volume, dict[str, float], list[str]]:
        """Label map on the first scan's grid, confidence per structure, and what is doubtful of them."""
        recipe = self._recipe
        grid = working_grid(box, recipe.size, recipe.spacing_mm)
        moved = _stored(registered.mr) if registered else mr
        ct_here, mr_here = (
            None if volume is None else _stored(sample_image(volume, grid, float(volume.data.min())))
            for volume in (ct, moved)
        )
        image = torch.from_numpy(stack_input(ct_here, mr_here, self.card.intensity))
        if "CT + MR" in self.modalities and (ct is None or mr is None):
            image = without(image, CT if ct is None else MR)
        probabilities = segment(self._model, image, recipe.overlap).numpy()
        native = ct if ct is not None else mr
        here = ct_here if ct_here is not None else mr_here
        assert native is not None
        assert here is not None
        labels = restore_labels(probabilities, here.grid, native.grid)
        warnings = _doubts_about(labels, grid, box.grown(recipe.margin_mm))
        if recipe.keep_largest_component:
            labels = Volume(keep_largest_component(labels.data), labels.affine)
        return labels, _confidence(probabilities), warnings


def _seeded(seed: str) -> dict[str, str]:
    """Environment in which ANTs is reproducible, which it reads when it is imported."""
    return {"ANTS_RANDOM_SEED": seed}


def _stored(volume: Volume) -> Volume:
    """The volume as a NIfTI file keeps it, which is how the network saw those of its training."""
    affine = volume.affine.astype(np.float32).astype(np.float64)
    return Volume(volume.data.astype(np.float32), affine)


def _confidence(probabilities: NDArray[np.float32]) -> dict[str, float]:
    classes = probabilities.argmax(axis=0)
    found = {}
    for structure in STRUCTURES:
        inside = classes == structure.index
        mean = float(probabilities[structure.index][inside].mean()) if inside.any() else float("nan")
        found[structure.abbreviation] = mean
    return found


def _doubts_about(labels: Volume, grid: Grid, wanted: Box) -> list[str]:
    """Say what is doubtful of a label map before it is cleaned: missing or cut structures, a box too small."""
    found = []
    if (over := overflow_mm(wanted, grid)) > 0:
        found.append(
            f"the heart box is {over:.0f} mm longer than what the network sees: parts may be cut off"
        )
    counts = np.bincount(labels.data.ravel(), minlength=len(STRUCTURES) + 1)
    if absent := [s.name for s in STRUCTURES if not counts[s.index]]:
        found.append(f"not found: {', '.join(absent)}")
    # Within a voxel of the network's from the edge, whose outside it sees as air.
    at_edge: set[int] = set()
    for axis, spacing in enumerate(labels.spacing_mm):
        depth = math.ceil(max(grid.spacing_mm) / spacing)
        slabs = np.moveaxis(labels.data, axis, 0)
        at_edge |= {int(index) for slab in (slabs[:depth], slabs[-depth:]) for index in np.unique(slab)}
    if cut := [s.name for s in STRUCTURES if s.index in at_edge]:
        found.append(f"reaching the edge of the scan, so perhaps cut: {', '.join(cut)}")
    return found


def _doubts_of(quality: Quality | None) -> list[str]:
    if quality is None:
        return []
    found = []
    if quality.mi_after <= quality.mi_before:
        found.append("registration made MR and CT no more alike than their centres laid together")
    if quality.negative_jacobian_share > FOLDED_SHARE:
        found.append(f"registration folds {quality.negative_jacobian_share:.2%} of the voxels")
    return found
