"""A trained network used on a new patient's scans: from images to label maps on the scans' own grids."""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from crossmodalnet.imaging.intensity import stack_input
from crossmodalnet.imaging.resample import resample, sample_image, straightened
from crossmodalnet.imaging.samples import CT, MR, without
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference import cost
from crossmodalnet.inference.doubts import (
    Doubt,
    doubts_of_box,
    doubts_of_header,
    doubts_of_heart,
    doubts_of_labels,
    doubts_of_mr_labels,
    doubts_of_registration,
    doubts_of_scan,
    doubts_of_windows,
)
from crossmodalnet.inference.packed import ATLASES, model_folder
from crossmodalnet.inference.recipe import Recipe, read_recipe
from crossmodalnet.inference.registered import (
    BoxWork,
    Registered,
    RegisterWork,
    find_box,
    labels_on_mr,
    register_scans,
)
from crossmodalnet.inference.result import Prediction
from crossmodalnet.inference.scans import Scan, as_noted_volume
from crossmodalnet.inference.segment import mirrorings
from crossmodalnet.inference.sureness import Sureness, sureness_of
from crossmodalnet.inference.windows import segment_within_memory
from crossmodalnet.networks.common.card import LoadedModel, ModelCard, load_model
from crossmodalnet.processes import run_alone, scratch_folder
from crossmodalnet.roi.atlas import Atlas, load_atlases
from crossmodalnet.roi.box import Box, working_grid
from crossmodalnet.roi.restore import keep_largest_component, restore_labels

# Seed of the registration of atlases, as stage `crop` has it.
ATLAS_SEED = "1"
# An image that shares less of its information with the atlases than half of what they share with one another shows no
# heart: phantoms' test subjects share 0.48 nats and more, a pelvis 0.20, a head 0.08, noise 0.003.
LIKENESS_SHARE = 0.5
# Displacement fields that a registration writes to the folder for temporary files: both directions, and as many again
# for files that are written before others are deleted.
WARPS = 4

# Is told each step before it begins, and the seconds from there to the end, where they are known.
Progress = Callable[[str, float | None], None]


def _silent(step: str, left_s: float | None) -> None:
    """Tell nobody."""


class Predictor:
    """Segments CT and MR of one patient together, or one of them where the network was trained for that.

    Several networks, of other seeds or folds, are an ensemble: their probabilities are averaged.

    >>> Predictor.load("no such folder")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] not found: 'no such folder/card.json'

    Args:
        models: networks in evaluation mode, and their cards; at least one.
        recipe: how scans are prepared.
        atlases: what finds the heart; none where every call gives a box.
        device: device that the networks run on.
        mirror: world axes, of `xyz`, along which images are mirrored as well, see `segment`. A mirrored heart is
            another anatomy, which no network has been trained with here.
    """

    def __init__(
        self,
        models: Sequence[LoadedModel],
        recipe: Recipe,
        atlases: Sequence[Atlas] = (),
        device: torch.device | str = "cpu",
        mirror: str = "",
    ) -> None:
        mirrorings(mirror)  # what it may be
        self._mirror = mirror
        self._models = [LoadedModel(model.network.to(device), model.card) for model in models]
        self._recipe = recipe
        self._atlases = tuple(atlases)

    @classmethod
    def load(
        cls, *models: str | os.PathLike[str], device: torch.device | str = "cpu", mirror: str = ""
    ) -> "Predictor":
        """Read a model, or several as an ensemble: card, weights, recipe, and the first one's atlases.

        Args:
            models: folders that stage `export` wrote, or files that `pack_model` made of them.
            device: device that the networks run on.
            mirror: world axes along which images are mirrored as well.

        Raises:
            FileNotFoundError: a file of a model is missing.
            ValueError: a file is damaged or of another version, one model is given twice, or the models prepare scans
                in different ways; names it.
        """
        if not models:
            raise ValueError("models must name at least one model, got none")
        with ExitStack() as stack:
            folders = [stack.enter_context(model_folder(model)) for model in models]
            loaded = [load_model(folder) for folder in folders]
            recipes = [read_recipe(folder) for folder in folders]
            has_atlases = (folders[0] / ATLASES).exists()
            atlases = load_atlases(folders[0] / ATLASES) if has_atlases else []
        cards = [model.card for model in loaded]
        for number, card in enumerate(cards):
            if (twin := cards.index(card)) < number:
                raise ValueError(f"{models[number]} is the same model as {models[twin]}: give each one once")
        first = cls(loaded[:1], recipes[0])
        for name, model, recipe in zip(models[1:], loaded[1:], recipes[1:], strict=True):
            # Other folds have other atlases, whose likeness is another.
            same = replace(recipe, atlas_likeness=None) == replace(recipes[0], atlas_likeness=None)
            other = cls([model], recipe)
            if (
                not same
                or model.card.intensity != first.card.intensity
                or other.modalities != first.modalities
            ):
                raise ValueError(f"{name} prepares scans otherwise than {models[0]}: they are no ensemble")
        return cls(loaded, recipes[0], atlases, device, mirror)

    @property
    def card(self) -> ModelCard:
        """Card of the first model."""
        return self._models[0].card

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """Cards of all models."""
        return tuple(model.card for model in self._models)

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
        if streams != "both":
            return ("CT + MR", streams.upper())
        return ("CT + MR", "CT", "MR") if self.card.train.get("modality_dropout", 0) > 0 else ("CT + MR",)

    def __call__(
        self,
        ct: Scan | None = None,
        mr: Scan | None = None,
        box: Box | None = None,
        progress: Progress = _silent,
        series: Sequence[str] = (),
    ) -> Prediction:
        """Segment a patient.

        Args:
            ct: CT in HU, see `as_volume`.
            mr: MR, likewise.
            box: heart box, in the world of the CT, or of the MR alone; found by the atlases where None.
            progress: is told each step before it begins, and, once the scans are read, how many seconds are left as
                `crossmodalnet.inference.cost` estimates them; also told where memory is short.
            series: names of DICOM series, where a folder has several; see `as_volume`.

        Raises:
            ValueError: a scan cannot be used, no heart is found, or the network cannot do with one modality.
            RuntimeError: the MR cannot be registered to the CT.
            MemoryError: memory does not suffice.
            OSError: the folder for temporary files has not enough room.
        """
        given = " + ".join(name for name, scan in (("CT", ct), ("MR", mr)) if scan is not None)
        if given not in self.modalities:
            what = " or ".join(self.modalities)
            raise ValueError(
                f"this model segments {what}, got {given or 'no scan'} (see train.modality_dropout)"
            )
        if box is None and not self._atlases:
            raise ValueError("this model has no atlases to find the heart with: give the heart box")
        progress("reading", None)
        ct_own, ct_notes = (None, ()) if ct is None else as_noted_volume(ct, Modality.CT, series)
        mr_own, mr_notes = (None, ()) if mr is None else as_noted_volume(mr, Modality.MR, series)
        # Registration and networks see right angles; label maps go back to the scans' own grids.
        ct_volume, mr_volume = (
            None if own is None else straightened(own, "linear", float(own.data.min()))
            for own in (ct_own, mr_own)
        )
        if ct_volume and mr_volume and np.array_equal(ct_volume.data, mr_volume.data):
            raise ValueError("CT and MR are the same scan, voxel for voxel: give one of each, or one alone")
        doubts = [
            doubt
            for volume, notes, modality in (
                (ct_own, ct_notes, Modality.CT), (mr_own, mr_notes, Modality.MR),
            )
            if volume is not None
            for doubt in (*doubts_of_scan(volume, modality), *doubts_of_header(notes, modality))
        ]  # fmt: skip
        clock = self._clock(ct_volume, mr_volume, box)
        with scratch_folder() as scratch:
            box, more, registered = self._locate(
                ct_volume, mr_volume, box, scratch, lambda step: progress(step, clock.left(step))
            )
            doubts += more
            progress(cost.NETWORK, clock.left(cost.NETWORK))
            own = ct_own if ct_own is not None else mr_own
            assert own is not None
            labels, sureness, more = self._segment(ct_volume, mr_volume, registered, box, own.grid, progress)
            doubts += more
            ct_labels, mr_labels = (labels, None) if ct_volume else (None, labels)
            if ct_volume and mr_volume and registered and mr_own:
                progress(cost.BACK, clock.left(cost.BACK))
                straight = resample(labels, ct_volume.grid, "nearest")
                moved = labels_on_mr(straight, mr_volume.grid, registered.transform)
                mr_labels = resample(moved, mr_own.grid, "nearest")
                doubts += doubts_of_mr_labels(mr_labels, labels, self._recipe.spacing_mm)
        return Prediction(
            ct=ct_own,
            mr=mr_own,
            ct_labels=ct_labels,
            mr_labels=mr_labels,
            box=box,
            confidence=sureness.confidence,
            agreement=sureness.agreement,
            registration=registered.quality if registered else None,
            doubts=tuple(doubts),
        )

    def _clock(self, ct: Volume | None, mr: Volume | None, box: Box | None) -> cost.Clock:
        """Estimate the time of what is to be done."""
        task = cost.Task(
            None if ct is None else ct.grid,
            None if mr is None else mr.grid,
            self._recipe,
            len(self._atlases) if box is None else 0,
            at_once=_has_several_cores(),
        )
        return cost.Clock(cost.estimate(task, self._models, self._mirror))

    def _locate(
        self,
        ct: Volume | None,
        mr: Volume | None,
        box: Box | None,
        scratch: Path,
        tell: Callable[[str], None],
    ) -> tuple[Box, list[Doubt], Registered | None]:
        """Find the heart, where no box is given, and register the MR, where there are both scans.

        Either is a process of one thread, so both go on at once where there are cores for it.
        """
        first = ct if ct is not None else mr
        assert first is not None
        doubts: list[Doubt] = []
        work = (
            RegisterWork(ct, mr, self._recipe.align, scratch) if ct is not None and mr is not None else None
        )
        registered = None
        if work and box is None and _has_several_cores():
            tell(cost.AT_ONCE)
            with ThreadPoolExecutor(1) as beside:
                searching = beside.submit(self._find, ct, mr)
                try:
                    registered = self._register(work)
                except RuntimeError:
                    searching.result()  # that there is no heart says more than that the scans do not fit
                    raise
                box, doubts = searching.result()
        elif box is None:
            tell(cost.SEARCH)
            box, doubts = self._find(ct, mr)
        _check_inside(box, first)
        if work and registered is None:
            tell(cost.REGISTRATION)
            registered = self._register(work)
        if registered:
            doubts += doubts_of_registration(registered.quality)
        return box, doubts, registered

    def _register(self, work: RegisterWork) -> Registered:
        """Register, and blame the disk where it is the disk's fault: ANTs does not say why it failed."""
        needed = WARPS * 12 * round(cost.mvox(work.ct.grid, work.settings.working_spacing_mm) * 1e6)
        _check_room(work.folder, needed)
        try:
            return run_alone(register_scans, work, environment=_seeded(str(work.settings.seed)))
        except RuntimeError:
            _check_room(work.folder, needed)
            raise

    def _find(self, ct: Volume | None, mr: Volume | None) -> tuple[Box, list[Doubt]]:
        """Find the heart in the CT, or in the MR where there is no CT.

        Raises:
            ValueError: the CT shows no heart.
        """
        image, modality = (ct, Modality.CT) if ct is not None else (mr, Modality.MR)
        assert image is not None
        search = BoxWork(image, modality, self._atlases, self._recipe.atlas_spacing_mm)
        heart = run_alone(find_box, search, environment=_seeded(ATLAS_SEED))
        usual = self._recipe.atlas_likeness
        # The atlases are of CT, so what they share with an MR is of another order.
        if modality is Modality.CT and usual is not None and heart.likeness < LIKENESS_SHARE * usual:
            raise ValueError(
                f"CT: no heart found: it shares {heart.likeness:.3f} nats with the atlases, which share "
                f"{usual:.3f} with one another: is it a CT of the chest? If it is, give the heart box"
            )
        return heart.box, doubts_of_heart(heart)

    def _segment(
        self,
        ct: Volume | None,
        mr: Volume | None,
        registered: Registered | None,
        box: Box,
        own: Grid,
        progress: Progress,
    ) -> tuple[Volume, Sureness, list[Doubt]]:
        """Label map on the grid `own` of the first scan, perhaps sheared; how sure it is; what is doubtful of it."""
        recipe = self._recipe
        native = ct if ct is not None else mr
        assert native is not None
        grid = working_grid(box, recipe.size, recipe.spacing_mm)
        moved = _stored(registered.mr) if registered else mr
        ct_here, mr_here = (
            None if volume is None else _stored(sample_image(volume, grid, float(volume.data.min())))
            for volume in (ct, moved)
        )
        image = torch.from_numpy(stack_input(ct_here, mr_here, self.card.intensity))
        if "CT + MR" in self.modalities and (ct is None or mr is None):
            image = without(image, CT if ct is None else MR)
        found = [
            segment_within_memory(
                model, image, recipe.overlap, mirror=self._mirror, say=lambda text: progress(text, None)
            )
            for model in self._models
        ]
        members = [one.probabilities.numpy() for one in found]
        probabilities = np.mean(members, axis=0)
        here = ct_here if ct_here is not None else mr_here
        assert here is not None
        labels = restore_labels(probabilities, here.grid, own)
        sureness = sureness_of(members, probabilities)
        cleaned = Volume(keep_largest_component(labels.data), labels.affine)
        doubts = [
            *doubts_of_windows(
                [model.card.patch_size for model in self._models], [one.window for one in found]
            ),
            *doubts_of_box(box, recipe.margin_mm, grid),
            *doubts_of_labels(labels, cleaned, sureness.confidence, max(grid.spacing_mm)),
        ]
        return cleaned if recipe.keep_largest_component else labels, sureness, doubts


def _has_several_cores() -> bool:
    """Whether this process may use them: one that segments patients beside others has one thread."""
    return torch.get_num_threads() > 1


def _seeded(seed: str) -> dict[str, str]:
    """Environment in which ANTs is reproducible, which it reads when it is imported."""
    return {"ANTS_RANDOM_SEED": seed}


def _stored(volume: Volume) -> Volume:
    """The volume as a NIfTI file keeps it, which is how the network saw those of its training."""
    affine = volume.affine.astype(np.float32).astype(np.float64)
    return Volume(volume.data.astype(np.float32), affine)


def _check_room(folder: Path, num_bytes: int) -> None:
    """Refuse a folder whose disk has less room."""
    if (free := shutil.disk_usage(folder).free) < num_bytes:
        raise OSError(
            errno.ENOSPC, f"No room for {num_bytes / 1e6:.0f} MB ({free / 1e6:.1f} MB are free)", str(folder)
        )


def _check_inside(box: Box, image: Volume) -> None:
    """Refuse a heart box whose middle lies outside of the scan."""
    middle = np.mean([box.low_mm, box.high_mm], axis=0)
    index = image.grid.to_index(middle[:, None])[:, 0]
    if ((index < -0.5) | (index > np.array(image.data.shape) - 0.5)).any():
        places = " x ".join(f"{value:.0f}" for value in middle)
        raise ValueError(
            f"the middle of the heart box, {places} mm (RAS), lies outside of the scan: check the box"
        )
