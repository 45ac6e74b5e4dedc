"""Predict a new patient: from CT and MR to label maps on the scans' own grids."""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodalnet.imaging.geometry import reoriented
from crossmodalnet.imaging.inspect import same_scan
from crossmodalnet.imaging.intensity import stack_input
from crossmodalnet.imaging.resample import resample, sample_image, straightened
from crossmodalnet.imaging.samples import CT, MR, without
from crossmodalnet.imaging.structures import Modality, accepted_inputs, excluded
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference import quality_flags as qc
from crossmodalnet.inference.model_folder import ATLASES, InferenceConfig, model_folder, read_inference_config
from crossmodalnet.inference.quality_flags import Flag, QualityFlag
from crossmodalnet.inference.registered import (
    Registered,
    fault_of_orientation,
    labels_on_mr,
    network_move,
    register_scans,
)
from crossmodalnet.inference.scans import Scan, read_with_header
from crossmodalnet.inference.segment import segment_within_memory
from crossmodalnet.networks.common.card import LoadedModel, ModelCard, load_model
from crossmodalnet.processes import run_alone, scratch_folder
from crossmodalnet.registration.ants import is_far_larger
from crossmodalnet.registration.quality import Quality
from crossmodalnet.roi.atlas import Atlas, load_atlases
from crossmodalnet.roi.box import Box, find_roi, working_grid
from crossmodalnet.roi.restore import keep_largest_component, restore_labels

# As in stage `crop`.
SEARCH_ENVIRONMENT = {"ANTS_RANDOM_SEED": "1"}
# Below this likeness of a CT and the atlases, relative to that among atlases, there is no heart. With phantoms as
# atlases, noise and a real head have 0.02, a phantom's pelvis 0.1, a real abdomen 0.17, two real chests 0.21 and 0.47,
# phantoms 1.
MIN_LIKENESS_SHARE = 0.15
# Displacement fields in a registration's temporary folder: both directions, and copies.
NUM_WARPS = 4
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Prediction:
    """Label maps on the scans' own grids, and their reliability; None for a scan that was not given."""

    ct: Volume | None  # as it was read
    mr: Volume | None
    ct_labels: Volume | None  # class indices on the CT's grid
    mr_labels: Volume | None  # class indices on the MR's grid
    box: Box  # heart ROI in the world (RAS, mm) of the CT, or of the MR alone
    confidence: dict[str, float]  # mean probability of each structure's voxels; NaN if it is missing
    agreement: dict[str, float]  # mean Dice of two models of an ensemble; NaN for one model or if it is missing
    registration: Quality | None  # of MR to CT; None for one scan
    quality_flags: tuple[QualityFlag, ...]  # what a reader should look at


class Predictor:
    """Segment CT and MR of one patient together, or one of them if the network was trained for that.

    Several networks (seeds, folds) form an ensemble: their probabilities are averaged.

    Args:
        models: networks in evaluation mode with their cards; at least one.
        atlases: without atlases, every call needs a heart ROI.

    >>> predictor = Predictor.load("exported/crossmodalnet/seed0")
    >>> predictor.modalities
    ('CT + MR', 'CT', 'MR')
    >>> patient = predictor(ct="ct.nii.gz", box=Box((-20, -20, -20), (20, 20, 20)))  # atlases find the box otherwise
    >>> patient.ct_labels.data.shape == patient.ct.data.shape
    True
    >>> list(patient.confidence)
    ['LV', 'RV', 'LA', 'RA', 'Myo', 'AO', 'PA']
    """

    def __init__(
        self,
        models: Sequence[LoadedModel],
        config: InferenceConfig,
        atlases: Sequence[Atlas] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.cards = tuple(model.card for model in models)
        self.modalities = _modalities(self.cards[0])  # accepted inputs: `CT + MR`, and `CT` or `MR` alone
        self.atlases = tuple(atlases)
        self._models = [LoadedModel(model.network.to(self.device), model.card) for model in models]
        self._config = config
        self.judges_mr = config.mr_likeness is not None  # whether a pair's MR shows the heart of its CT

    @classmethod
    def load(cls, *models: str | os.PathLike[str], device: torch.device | str = "cpu") -> "Predictor":
        """Load a model folder or packed model, or several as an ensemble with the first one's atlases.

        Raises:
            FileNotFoundError: a file of a model is missing.
            ValueError: a file is damaged or of another version, a model is given twice, or the models prepare scans
                differently; names it.
        """
        if not models:
            raise ValueError("models must name at least one model, got none")
        with ExitStack() as stack:
            folders = [stack.enter_context(model_folder(model)) for model in models]
            loaded = [load_model(folder) for folder in folders]
            configs = [read_inference_config(folder) for folder in folders]
            has_atlases = (folders[0] / ATLASES).exists()
            atlases = load_atlases(folders[0] / ATLASES) if has_atlases else []
        cards = [model.card for model in loaded]
        for number, card in enumerate(cards):
            if (twin := cards.index(card)) < number:
                raise ValueError(f"{models[number]} is the same model as {models[twin]}: give each one once")
            if _preparation(card, configs[number]) != _preparation(cards[0], configs[0]):
                raise ValueError(f"{models[number]} prepares scans otherwise than {models[0]}: they are no ensemble")
        return cls(loaded, configs[0], atlases, device)

    def __call__(
        self,
        ct: Scan | None = None,
        mr: Scan | None = None,
        box: Box | None = None,
        progress: Progress = lambda _: None,
        series: Sequence[str] = (),
    ) -> Prediction:
        """Segment a patient; see `read_volume` for scans and `series`.

        Args:
            box: heart ROI in the world of the CT, or of the MR alone; found by the atlases by default.
            progress: receives each step before it begins, and notes on short memory.

        Raises:
            ValueError: a scan cannot be used, no heart is found, or the network needs the other modality.
            RuntimeError: the MR cannot be registered to the CT.
            MemoryError: memory does not suffice.
            OSError: the disk of the temporary folder is full.
        """
        if problem := excluded(self.modalities, ct, mr):
            raise ValueError(problem)
        if box is None and not self.atlases:
            raise ValueError("this model has no atlases to find the heart with: give the heart ROI (--box)")
        progress("reading")
        flags: list[QualityFlag] = []
        given = {Modality.CT: ct, Modality.MR: mr}
        scans = {name: read_with_header(scan, name, series) for name, scan in given.items() if scan is not None}
        for modality, (volume, header) in scans.items():
            if number := header.tags.get("SeriesNumber") or header.tags.get("SeriesInstanceUID"):
                about = header.tags.get("SeriesDescription", "no description")
                progress(f"{modality.name}: series {number} ({about[:40]})")
            flags += qc.scan_flags(volume, modality)
            flags += qc.cohort_flags(modality, header.tags, [card.cohort for card in self.cards])
            flags += [QualityFlag(Flag.HEADER, f"{modality.name}: {note}") for note in header.notes_as(modality.name)]
        flags += qc.patient_flags([header.tags for _, header in scans.values()])
        qc.check_exchanged({name: (volume, header.tags) for name, (volume, header) in scans.items()})
        original = [scans[name][0] if name in scans else None for name in given]
        ct_scan, mr_scan = original
        # Registration and networks need right angles; label maps return to the scans' own grids.
        ct_volume, mr_volume = (
            None if volume is None else straightened(volume, "linear", float(volume.data.min())) for volume in original
        )
        if ct_volume and mr_volume and same_scan(ct_volume.data, reoriented(mr_volume, ct_volume.grid).data):
            raise ValueError("CT and MR are the same scan, but for a constant or a factor: give the MR, or one alone")
        is_given = box is not None
        with qc.explained(flags), scratch_folder() as scratch:
            box, registered = self._locate(ct_volume, mr_volume, box, scratch, progress, flags)
            moved = registered.mr if registered else mr_volume
            target = ct_scan or mr_scan
            assert target is not None
            labels, move, confidence, agreement = self._segment(
                ct_volume, moved, box, target.grid, progress, flags, is_given
            )
            ct_labels, mr_labels = (labels, None) if ct_volume else (None, labels)
            if ct_volume and mr_volume and registered and mr_scan:
                straight = resample(Volume(labels.data, move @ labels.affine), ct_volume.grid, "nearest")
                on_mr = labels_on_mr(straight, mr_volume.grid, registered.transform)
                mr_labels = resample(on_mr, mr_scan.grid, "nearest")
                flags += qc.mr_label_flags(mr_labels, labels, self._config.spacing_mm)
        quality = registered.quality if registered else None
        causes_first = tuple(sorted(flags, key=lambda flag: list(qc.Flag).index(flag.flag)))
        return Prediction(ct_scan, mr_scan, ct_labels, mr_labels, box, confidence, agreement, quality, causes_first)

    def _locate(
        self,
        ct: Volume | None,
        mr: Volume | None,
        box: Box | None,
        scratch: Path,
        progress: Progress,
        flags: list[QualityFlag],
    ) -> tuple[Box, Registered | None]:
        """Find the heart unless an ROI is given, and register the MR; both at once with several threads if possible."""
        registered = None
        if ct and mr and box is None and torch.get_num_threads() > 1 and not is_far_larger(ct, mr):
            progress("search for the heart, registration")
            with ThreadPoolExecutor(1) as pool:
                search = pool.submit(self._find_heart, ct, mr, flags)
                try:
                    registered = self._register(ct, mr, scratch, box)
                except RuntimeError:
                    search.result()  # raises first if there is no heart, which explains the failure
                    raise
                box = search.result()
        elif box is None:
            progress("search for the heart")
            box = self._find_heart(ct, mr, flags)
        first = ct or mr
        assert first is not None
        _check_inside(box, first)
        if ct and mr and registered is None:
            progress("registration")
            registered = self._register(ct, mr, scratch, box)
        if ct and registered:
            if registered.doubt:
                progress(f"registration {registered.doubt}")
            flags += qc.registration_flags(registered.quality, fault_of_orientation(ct, registered, box))
        return box, registered

    def _register(self, ct: Volume, mr: Volume, folder: Path, box: Box | None) -> Registered:
        """Register the MR; raise OSError for a full disk, because ANTs does not report it."""
        config = self._config.registration
        num_voxels = ct.grid.volume_mm3 / config.working_spacing_mm**3
        needed = NUM_WARPS * 12 * round(num_voxels)
        _check_room(folder, needed)
        try:
            return run_alone(
                partial(register_scans, mr=mr, config=config, folder=folder, box=box),
                ct,
                environment={"ANTS_RANDOM_SEED": str(config.seed)},
            )
        except RuntimeError:
            _check_room(folder, needed)
            raise

    def _find_heart(self, ct: Volume | None, mr: Volume | None, flags: list[QualityFlag]) -> Box:
        """Find the heart ROI in the CT, or in an MR alone; ValueError for a scan without a heart."""
        image, modality = (ct, Modality.CT) if ct else (mr, Modality.MR)
        assert image is not None
        usual = self._config.heart_likeness
        search = partial(
            find_roi, atlases=self.atlases, spacing_mm=self._config.atlas_spacing_mm, modality=modality, usual=usual
        )
        heart = run_alone(search, image, environment=SEARCH_ENVIRONMENT)
        if ct and usual is not None and heart.likeness < MIN_LIKENESS_SHARE * usual:
            raise ValueError(
                f"CT: no heart found: around it, the mutual information with the atlases is {heart.likeness:.3f} nats, "
                f"that among the atlases {usual:.3f} (training CTs of this model: {self.cards[0].origin}): is it a CT "
                "of the chest? If it is, give the heart ROI (--box)"
            )
        flags += qc.heart_flags(heart, usual) if ct else qc.mr_alone_flags(heart, usual)
        return heart.box

    def _segment(
        self,
        ct: Volume | None,
        mr: Volume | None,
        box: Box,
        target: Grid,
        progress: Progress,
        flags: list[QualityFlag],
        is_given: bool,
    ) -> tuple[Volume, NDArray[np.float64], dict[str, float], dict[str, float]]:
        """Segment CT and MR in one world: class indices on `target`, `network_move`, confidence, ensemble agreement.

        ValueError for an MR without the CT's heart, unless the user gave the ROI (`is_given`).
        """
        config = self._config
        grid = working_grid(box, config.size, config.spacing_mm)
        sampled = [
            None if volume is None else _as_stored(sample_image(volume, grid, float(volume.data.min())))
            for volume in (ct, _as_stored(mr) if ct and mr else mr)
        ]
        intensity = self.cards[0].intensity
        image = torch.from_numpy(stack_input(sampled[0], sampled[1], intensity))
        move = np.eye(4)
        if sampled[0] and sampled[1]:
            seen, move = sampled[1], network_move(self._models[0], image, grid)
            if (move != np.eye(4)).any():
                centre = grid.to_world((np.array(grid.shape)[:, None] - 1) / 2)
                by_mm = float(np.linalg.norm(move[:3, :3] @ centre + move[:3, 3:] - centre))
                progress(f"the network moves the MR by {by_mm:.0f} mm at the heart's centre")
                seen = resample(Volume(seen.data, np.linalg.inv(move) @ grid.affine), grid, "linear")
            if config.mr_likeness:
                found = qc.measure_likeness(sampled[0], seen, intensity)
                flags += qc.likeness_flags(found, config.mr_likeness, can_refuse=not is_given)
        if "CT + MR" in self.modalities and (ct is None or mr is None):
            image = without(image, CT if ct is None else MR)
        members, windows = [], []
        for number, model in enumerate(self._models, 1):
            progress(f"network {number} of {len(self._models)}" if len(self._models) > 1 else "network")
            probabilities, window = segment_within_memory(model, image, config.overlap, report=progress)
            members.append(probabilities.numpy())
            windows.append(window)
        mean = np.mean(members, axis=0)
        first = sampled[0] or sampled[1]
        assert first is not None
        labels = restore_labels(mean, first.grid, target)
        confidence = qc.mean_confidence(mean)
        cleaned = Volume(keep_largest_component(labels.data), labels.affine)
        flags += qc.window_flags([card.patch_size for card in self.cards], windows)
        flags += qc.roi_flags(box, config.margin_mm, grid)
        learnt = {entry.abbreviation for card in self.cards for entry in card.labels}
        flags += qc.label_flags(labels, cleaned, confidence, max(grid.spacing_mm), learnt)
        return cleaned if config.keep_largest_component else labels, move, confidence, qc.ensemble_agreement(members)


def _modalities(card: ModelCard) -> tuple[str, ...]:
    return accepted_inputs(card.network, card.train, card.adaptation)


def _preparation(card: ModelCard, config: InferenceConfig) -> tuple[object, ...]:
    """Collect the settings that an ensemble shares; folds differ in training pairs, and so in likeness."""
    return config.model_copy(update={"heart_likeness": None, "mr_likeness": None}), card.intensity, _modalities(card)


def _as_stored(volume: Volume | None) -> Volume | None:
    """Round a volume as a NIfTI file does: the networks were trained with images from files."""
    if volume is None:
        return None
    affine = volume.affine.astype(np.float32).astype(np.float64)
    return Volume(volume.data.astype(np.float32), affine)


def _check_room(folder: Path, num_bytes: int) -> None:
    if (free := shutil.disk_usage(folder).free) < num_bytes:
        raise OSError(errno.ENOSPC, f"No room for {num_bytes / 1e6:.0f} MB ({free / 1e6:.1f} MB are free)", str(folder))


def _check_inside(box: Box, image: Volume) -> None:
    """Reject a heart ROI whose centre lies outside the scan."""
    centre = np.mean([box.low_mm, box.high_mm], axis=0)
    index = image.grid.to_index(centre[:, None])[:, 0]
    if ((index < -0.5) | (index > np.array(image.data.shape) - 0.5)).any():
        place = " x ".join(f"{value:.0f}" for value in centre)
        corners = image.grid.to_world(image.grid.corners())
        low, high = (" x ".join(f"{value:.0f}" for value in end) for end in (corners.min(axis=1), corners.max(axis=1)))
        raise ValueError(
            f"the centre of the heart ROI, {place} mm (RAS), lies outside of the scan, which reaches from {low} to "
            f"{high} mm: check --box"
        )
