"""Sections of params.yaml that belong to the pipeline alone."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from crossmodalnet import AdaptationSettings, AugmentationSettings
from crossmodalnet.config import Config, FloatPair, IntTriple
from crossmodalnet.imaging.codes import own_codes
from pipeline.config.option import option, settings_from

Abbreviation = Literal["LV", "RV", "LA", "RA", "Myo", "AO", "PA"]


class Archive(Config):
    """An archive to download."""

    url: str = Field(description="address of a zip archive", pattern=r"^(https?|file)://")
    sha256: str = Field(
        description="SHA-256 checksum of the archive, 64 hexadecimal digits", pattern=r"^[0-9a-fA-F]{64}$"
    )


class PhantomConfig(Config):
    """The embedded whole-heart phantom."""

    seed: int = Field(0, ge=0, description="seed from which every subject is drawn")
    num_labelled: int = Field(20, ge=3, le=999, description="labelled subjects per modality")
    num_unlabelled: int = Field(2, ge=0, le=999, description="unlabelled subjects per modality")
    ct_spacing_mm: float = Field(2.0, ge=0.4, le=6, description="CT in-plane spacing, mm")
    mr_spacing_mm: float = Field(2.2, ge=0.4, le=6, description="MR in-plane spacing, mm; slices are thicker")
    scanner: Literal["reference", "other"] = Field(
        "reference",
        description="the scanner and protocol; other: later CT contrast phase, T1-weighted MR with bright fat, "
        "more noise, thicker slices, smaller field of view",
    )
    same_patients: bool = Field(
        False,
        description="whether people are scanned in both modalities; true: CT and MR of one number are one person, and "
        "a pair; false: all are different people, as in MM-WHS",
    )


class DataConfig(Config):
    """Section `data`."""

    source: Literal["phantom", "mmwhs", "table"] = Field(
        "phantom",
        description="source of the cohort; phantom: made here, no download; mmwhs: the real data or "
        "anything laid out like it; table: data of your own, see docs/own_data.md",
    )
    path: str | list[str] | None = Field(
        None,
        description="path of a folder, or of one or more zip archives, for source mmwhs, null when urls are given; "
        "for source table that of a CSV, or of a folder laid out for nnU-Net",
    )
    labels: (
        Literal["auto", "mmwhs", "index", "totalsegmentator", "totalsegmentator_v1"]
        | dict[str, int | list[int]]
    ) = Field(
        "auto",
        description="meaning of the values in label maps of source table; auto: names in dataset.json of nnU-Net, "
        "else mmwhs; index: 1 to 7 for LV, RV, LA, RA, Myo, AO, PA; totalsegmentator: those of its task "
        "heartchambers_highres; totalsegmentator_v1: those of total in version 1; or values of your own by structure, "
        "{LV: 1, Myo: [2, 3], background: 9}",
    )
    missing: list[Abbreviation] = Field(
        [],
        description="structures that source table does not delineate, beside those that labels leaves out; read as "
        "background and not scored",
    )
    urls: list[Archive] = Field([], description="archives to download for source mmwhs, each {url, sha256}")
    max_unpacked_gb: float = Field(
        60.0, gt=0, description="largest unpacked size of the archives, GB; larger ones are refused"
    )
    phantom: PhantomConfig = Field(PhantomConfig(), description="the embedded whole-heart phantom")

    @model_validator(mode="after")
    def _has_a_meaning(self) -> "DataConfig":
        """Refuse labels that cannot be meant when they are read, and those of a source that would not look at them."""
        if isinstance(self.labels, dict):
            own_codes(self.labels)
        if self.source != "table" and (self.labels != "auto" or self.missing):
            raise ValueError(
                f"labels and missing are of source table, got source {self.source}: set source to table, or labels "
                "to auto and missing to []"
            )
        if self.source == "phantom" and (self.path or self.urls):
            raise ValueError(
                "path and urls have no effect with source phantom: set source to mmwhs or table, or path to null and "
                "urls to []"
            )
        if self.source == "table" and self.urls:
            raise ValueError("urls have no effect with source table: set path, and urls to []")
        return self


class SplitConfig(Config):
    """Section `split`."""

    seed: int = Field(0, ge=0, description="seed of the shuffle of subjects")
    test_fraction: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="share of labelled subjects of each modality that tests; 0.25 of 20 = 15/5",
    )
    validation_fraction: float = Field(
        0.15, gt=0, lt=1, description="share of the training pairs held out to choose the checkpoint"
    )
    folds: int = Field(
        1,
        ge=1,
        description="folds of the split; 1: one split by test_fraction; k > 1: k-fold cross-validation",
    )
    fold: int = Field(0, ge=0, description="number of the fold that tests, 0 to folds - 1")
    pairing: Literal["auto", "same_patient", "cross_patient"] = Field(
        "auto",
        description="people of a pair; auto: a patient's own CT and MR where a patient has both, others with each "
        "other; same_patient: a patient's own alone; cross_patient: never a patient's own",
    )
    mrs_per_ct: int = Field(
        1,
        ge=1,
        le=100,
        description="training MRs that each training CT is registered with: so many times the training pairs; "
        "validation and test pairs stay",
    )

    @model_validator(mode="after")
    def _fold_exists(self) -> "SplitConfig":
        if self.fold >= self.folds:
            raise ValueError(
                f"fold {self.fold} does not exist with folds: {self.folds}; the last is {self.folds - 1}"
            )
        return self


class CropConfig(Config):
    """Section `crop`."""

    roi: Literal["atlas", "labels"] = Field(
        "atlas",
        description="origin of the heart ROI; atlas: labels of training subjects, propagated as to a new patient; "
        "labels: the subject's own label, as in the paper",
    )
    margin_mm: float = Field(5.0, ge=0, le=100, description="margin around the heart ROI on every side, mm")
    spacing_mm: float = Field(3.5, gt=0, le=10, description="isotropic spacing of the working grid, mm")
    size: IntTriple = Field((40, 40, 40), description="voxels of the working grid, world x, y, z")
    num_atlases: int = Field(3, ge=1, description="training subjects whose labels vote for the box")
    atlas_spacing_mm: float = Field(
        5.0, gt=0, le=10, description="spacing of the affine atlas registration, mm"
    )


class LossesConfig(Config):
    """Section `losses`."""

    objectives: list[Literal["dice", "ce"]] = Field(
        ["dice", "ce"], min_length=1, description="losses that are minimised: soft Dice, cross-entropy"
    )
    balancing: Literal["paper", "harder", "uniform"] = Field(
        "paper",
        description="weights of the objectives; paper: Eq. 23, the smaller loss weighs more; "
        "harder: the larger one does; uniform: equal",
    )
    alpha: float = Field(0.5, ge=0, description="sharpness of the balancing, alpha of Eq. 23")
    cmif: float = Field(
        0.0,
        ge=0,
        description="weight of a penalty on falling information flow between CT and MR (Def. 7, Theorem 2.7), added "
        "to the balanced sum; 0: off; for networks of two streams only",
    )
    deep_supervision: bool = Field(
        True,
        description="learning from coarser outputs too: crossmodalnet, and nnformer, mednext and resenc_unet as they "
        "were published; false: no network does",
    )

    @field_validator("objectives")
    @classmethod
    def _different(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError("objectives must differ")
        return value


# The library's options come through its front door, as those of the networks do (`pipeline/config/network.py`).


class AugmentConfig(Config):
    """Section `augment`."""

    enabled: bool = Field(True, description="switch of the augmentation; false: samples are left as they are")
    affine_probability: float = option(AugmentationSettings, "affine_probability")
    rotation_degrees: float = option(AugmentationSettings, "rotation_degrees")
    scale: float = option(AugmentationSettings, "scale")
    shift_voxels: float = option(AugmentationSettings, "shift_voxels")
    elastic_probability: float = option(AugmentationSettings, "elastic_probability")
    elastic_spacing_voxels: float = option(AugmentationSettings, "elastic_spacing_voxels")
    elastic_voxels: float = option(AugmentationSettings, "elastic_voxels")
    intensity_probability: float = option(AugmentationSettings, "intensity_probability")
    gamma: FloatPair = option(AugmentationSettings, "gamma")
    contrast: float = option(AugmentationSettings, "contrast")
    brightness: float = option(AugmentationSettings, "brightness")
    noise: float = option(AugmentationSettings, "noise")
    smoothing_voxels: float = option(AugmentationSettings, "smoothing_voxels")
    bias_field: float = option(AugmentationSettings, "bias_field")

    displacement_probability: float = option(AugmentationSettings, "displacement_probability")
    displacement_voxels: float = option(AugmentationSettings, "displacement_voxels")
    displacement_degrees: float = option(AugmentationSettings, "displacement_degrees")

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> "AugmentConfig":
        self.settings()
        return self

    def settings(self) -> AugmentationSettings:
        """How samples are changed, for the library; whether they are, `enabled` says.

        Raises:
            ValueError: a rule of the library's is broken.
        """
        return settings_from(self, AugmentationSettings)


# The library's options come through its front door, by which no stage depends on the terms' code: what a stage depends
# on is the values, and these stand in params.yaml.
@dataclass(frozen=True)
class _OfTerm:
    """Marks the strength of a term among the parameters."""


# The strength of the term of JADA that has the field's name (`crossmodalnet/training/adaptation/adapter.py`).
Strength = Annotated[float, Field(ge=0), _OfTerm()]


class AdaptationConfig(Config):
    """Section `adapt`, as trainings read it: they have the target's images before them, wherever these come from."""

    enabled: bool = Field(
        False, description="switch of the adaptation to a target domain, whose labels training never sees"
    )
    scenario: Literal["cohort", "ct_to_mr", "mr_to_ct"] = Field(
        "cohort",
        description="scenario of the adaptation; cohort: from the pairs of the cohort to those of "
        "`target`; ct_to_mr, mr_to_ct: from the "
        "cohort's labelled images of one modality to its images of the other, unpaired",
    )
    # Left unread here, so that no training depends on the options of a cohort: `pipeline/config/sections.py`.
    target: object = Field(None, description="the target domain of the scenario cohort")
    start: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of the training that is of the source alone; from there on the terms' strengths rise "
        "from 0 (Ganin's ramp), when the network has something to align",
    )
    every: int = Field(
        2,
        ge=1,
        description="interval of steps, from `start` on, at which target samples are seen beside the "
        "source's; 1: in each",
    )
    appearance: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of the source samples, in steps that see the target, that take on the "
        "intensities of a target image "
        "(histogram matching)",
    )
    marginal: Strength = Field(
        0.5, description="strength of the patch discriminators on bottleneck and decoder level; 0: off"
    )
    conditional: Strength = Field(
        0.1, description="strength of the alignment of features given classes (CDAN); 0: off"
    )
    conditional_by: Literal["discriminator", "kernel"] = option(AdaptationSettings, "conditional_by")
    output: Strength = Field(
        1.0, description="strength of the discriminator on the output's entropy maps; 0: off"
    )
    self_training: Strength = Field(
        1.0,
        description="strength of the network's own labels of the target where it is sure of them; 0: off",
    )
    confidence: float = option(AdaptationSettings, "confidence")
    topology: Strength = Field(
        1.0, description="strength that keeps the spanning trees of source features; 0: off"
    )
    topology_every: int = option(AdaptationSettings, "topology_every")
    teacher_decay: float = option(AdaptationSettings, "teacher_decay")
    volumes: Strength = Field(
        0.0,
        description="strength that gives left blood, right blood and myocardium of the target the source's shares, "
        "on average; 0: off",
    )
    betti: Strength = Field(
        0.0, description="strength of the Betti numbers of the target's structures; 0: off"
    )
    betti_every: int = option(AdaptationSettings, "betti_every")
    cap: float = option(AdaptationSettings, "cap")
    decoder_level: int = option(AdaptationSettings, "decoder_level")
    voxels_per_class: int = option(AdaptationSettings, "voxels_per_class")
    tree_voxels_per_class: int = option(AdaptationSettings, "tree_voxels_per_class")
    map_dim: int = option(AdaptationSettings, "map_dim")
    width: int = option(AdaptationSettings, "width")
    discriminator_lr: float = Field(1e-3, gt=0, description="learning rate of the discriminators (Adam)")
    entropy_weight: float = Field(
        1.0,
        ge=0,
        description="weight of the target's entropy (0 to 1) in the choice of the weights to keep: those with the "
        "best validation Dice of the source minus this times the entropy",
    )

    def settings(self) -> AdaptationSettings:
        """The sizes of the terms' parts, for the library."""
        return settings_from(self, AdaptationSettings)

    def strengths(self) -> dict[str, float]:
        """The terms' strengths by name, for the library."""
        return {name: getattr(self, name) for name in TERMS}


# Names of the terms, without the library's code of them: what only names terms depends on no network.
TERMS = tuple(name for name, field in AdaptationConfig.model_fields.items() if _OfTerm() in field.metadata)


class TargetConfig(Config):
    """Where the images of the target domain come from, in the scenario `cohort`."""

    source: Literal["phantom", "unlabelled", "mmwhs"] = Field(
        "phantom",
        description="source of the target domain; phantom: a second phantom cohort; unlabelled: the "
        "subjects of the cohort that have no labels "
        "(MM-WHS 2001 to 2040); mmwhs: another cohort laid out like MM-WHS, whose labels only evaluate sees",
    )
    path: str | list[str] | None = Field(
        None,
        description="path of a folder, or of one or more zip archives, for source mmwhs; null when urls are given",
    )
    urls: list[Archive] = Field([], description="archives to download for source mmwhs, each {url, sha256}")
    max_unpacked_gb: float = Field(
        60.0, gt=0, description="largest unpacked size of the archives, GB; larger ones are refused"
    )
    phantom: PhantomConfig = Field(
        PhantomConfig(seed=1, num_unlabelled=0, ct_spacing_mm=2.4, mr_spacing_mm=2.8, scanner="other"),
        description="the second phantom cohort",
    )

    @model_validator(mode="after")
    def _has_a_place(self) -> "TargetConfig":
        if self.source == "mmwhs" and not self.path and not self.urls:
            raise ValueError("source mmwhs needs a path or urls, got neither")
        if self.source != "mmwhs" and (self.path or self.urls):
            raise ValueError(
                f"path and urls have no effect with source {self.source}: set source to mmwhs, or path to null and "
                "urls to []"
            )
        return self

    def as_data(self) -> DataConfig:
        """The same as a section `data`, for the code that lays out a cohort.

        Raises:
            ValueError: the source is `unlabelled`, which is no cohort of its own.
        """
        if self.source == "unlabelled":
            raise ValueError("source must be phantom or mmwhs to be laid out, got unlabelled")
        return DataConfig(
            source=self.source,
            path=self.path,
            urls=self.urls,
            max_unpacked_gb=self.max_unpacked_gb,
            phantom=self.phantom,
        )


class AdaptSection(AdaptationConfig):
    """Section `adapt`."""

    target: TargetConfig = Field(TargetConfig(), description="the target domain of the scenario cohort")


# How a training is run, not what comes out of it.
EXECUTION = frozenset({"devices", "num_threads", "checkpoint_every"})


class TrainConfig(Config):
    """Section `train`."""

    budget: Literal["epochs", "seconds"] = Field(
        "epochs",
        description="budget that all networks get alike; epochs: training steps; seconds: training time on this "
        "machine, whose results vary with its speed",
    )
    epochs: int = Field(20, ge=1, description="passes over the training pairs, with budget epochs")
    seconds: float = Field(
        240.0, gt=0, description="training time without validation, s, with budget seconds"
    )
    samples_per_case: int = Field(
        2, ge=1, description="visits of an epoch to each pair, augmented anew each time"
    )
    batch_size: int = Field(
        2, ge=1, description="samples per step over all processes, which share them equally"
    )
    lr: float = Field(
        8e-3,
        gt=0,
        description="learning rate of Adam, for networks that have none of their own; the paper's is 1e-5",
    )
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="schedule of the learning rate: constant, or cosine down to 1 % of lr"
    )
    warmup_fraction: float = Field(
        0.05, ge=0, lt=1, description="share of the steps over which lr rises from 0"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of Adam (L2)")
    grad_clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: any")
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of a running mean of the weights, used in their stead; 0: the weights themselves",
    )
    patch_size: IntTriple = Field(
        (40, 40, 40),
        description="voxels that the network sees at once; crop.size or smaller (random patches)",
    )
    foreground_share: float = Field(
        0.67, ge=0, le=1, description="share of random patches that are centred on a structure"
    )
    modality_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability that a training sample of a pair loses its CT or its MR, with equal chance; without "
        "CT it has the MR's own label; 0: off, as it always is with adapt.enabled and for a network of one stream",
    )
    ct_window_hu: FloatPair = Field((-200.0, 600.0), description="Hounsfield units that become 0 and 1")
    mr_percentiles: FloatPair = Field((0.5, 99.5), description="percentiles of each MR that become 0 and 1")
    validate_every: int = Field(
        4, ge=1, description="epochs between validations; the first and last always are"
    )
    mixed_precision: Literal["auto", "off"] = Field(
        "auto", description="precision of computation; auto: bf16 or fp16 on a GPU only; off: float32"
    )
    devices: Literal["auto"] | int = Field(
        "auto",
        description="processes of this machine, without influence on results but rounding; auto: one per GPU, "
        "else one per core, as far as each has two samples of the batch",
    )
    num_threads: int = Field(0, ge=0, description="CPU threads of all processes together; 0: one per core")
    checkpoint_every: int = Field(1, ge=1, description="epochs between checkpoints to resume from")

    @model_validator(mode="after")
    def _possible(self) -> "TrainConfig":
        if isinstance(self.devices, int) and self.devices < 1:
            raise ValueError(f"devices must be auto or at least 1, got {self.devices}")
        if min(self.patch_size) < 1:
            raise ValueError(f"patch_size must be positive, got {self.patch_size}")
        if not self.ct_window_hu[0] < self.ct_window_hu[1]:
            raise ValueError(f"ct_window_hu must ascend, got {self.ct_window_hu}")
        if not 0 <= self.mr_percentiles[0] < self.mr_percentiles[1] <= 100:
            raise ValueError(f"mr_percentiles must ascend within 0 and 100, got {self.mr_percentiles}")
        return self

    def essential(self) -> dict[str, Any]:
        """The values that the result depends on: all but how many devices and threads work on it."""
        return self.model_dump(mode="json", exclude=set(EXECUTION))


Rate = Annotated[float, Field(gt=0)]


class TuneConfig(Config):
    """Section `tune`."""

    models: list[str] = Field([], description="networks to try learning rates on; [] : no search")
    learning_rates: list[Rate] = Field(
        [2e-3, 4e-3, 8e-3], min_length=1, description="learning rates to try on each network of tune.models"
    )
    epochs: int = Field(8, ge=1, description="passes over the training pairs of each trial")

    @field_validator("models", "learning_rates")
    @classmethod
    def _different(cls, value: list[object]) -> list[object]:
        if len(set(value)) != len(value):
            raise ValueError("entries must differ")
        return value


Shift = Annotated[float, Field(ge=0)]


class EvaluateConfig(Config):
    """Section `evaluate`."""

    overlap: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of a patch that neighbouring windows of the sliding window have in common",
    )
    keep_largest_component: bool = Field(
        True,
        description="only the largest connected piece of each predicted structure is kept; the atlas stays as it is",
    )
    nsd_tolerance_mm: float = Field(
        3.0,
        gt=0,
        le=50,
        description="distance up to which surfaces agree in normalised surface Dice, mm; above the voxel size",
    )
    misregistration_mm: list[Shift] = Field(
        [0.0, 5.0, 10.0, 15.0],
        description="shifts of the MR against the CT that Dice is measured at, ascending from 0, mm; []: not measured",
    )
    misregistration_degrees: float = Field(
        10.0,
        ge=0,
        le=180,
        description="rotation of the MR at the largest shift of misregistration_mm, in proportion less at "
        "others, degrees",
    )
    bootstrap_samples: int = Field(
        10000, ge=100, le=1_000_000, description="resamplings of the test pairs for the 95 % intervals"
    )
    seed: int = Field(
        0,
        ge=0,
        description="seed of the resampling, and of the directions in which MRs are shifted and rotated",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that the network runs on; auto: a GPU if there is one"
    )

    @field_validator("misregistration_mm")
    @classmethod
    def _ascending(cls, value: list[float]) -> list[float]:
        # What is lost by misregistration is lost against 0 mm.
        if value and (value[0] != 0 or sorted(set(value)) != value):
            raise ValueError(f"shifts must ascend from 0, got {value}")
        return value


class ProfileConfig(Config):
    """Section `profile`."""

    repetitions: int = Field(
        7,
        ge=3,
        le=1000,
        description="timed steps and timed cases, each beside one of the reference network",
    )
    warmup: int = Field(2, ge=1, le=100, description="untimed steps and cases before the timed ones")
    max_seconds: float = Field(
        30.0,
        gt=0,
        description="time spent on steps, and again on cases, s; after it no further one is timed, once "
        "there are three",
    )
    seed: int = Field(0, ge=0, description="seed of the weights and of the random images and labels")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that the network is measured on; auto: a GPU if there is one"
    )
    num_threads: int = Field(0, ge=0, description="CPU threads of the measuring process; 0: one per core")


class CompareConfig(Config):
    """Section `compare`."""

    alpha: float = Field(
        0.05, gt=0, lt=0.5, description="a difference is supported up to this p-value after Holm's correction"
    )
    bootstrap_samples: int = Field(
        10000,
        ge=100,
        le=1_000_000,
        description="resamplings of subjects and seeds for 95 % intervals and ranks",
    )
    seed: int = Field(0, ge=0, description="seed of the resampling")


class ReportConfig(Config):
    """Section `report`."""

    panel_px: int = Field(320, ge=64, le=1024, description="longest side of an overlay panel, pixels")
    checkerboard_px: int = Field(
        440, ge=64, le=1600, description="longest side of a registration checkerboard, pixels"
    )
    margin_mm: float = Field(
        12.0, ge=0, le=100, description="margin shown around the heart in the overlays, mm"
    )
    ct_window_hu: FloatPair = Field((-160.0, 440.0), description="CT values shown as black and white, HU")
    jpeg_quality: int = Field(82, ge=30, le=95, description="JPEG quality of overlays and checkerboards")

    @model_validator(mode="after")
    def _window_is_ascending(self) -> "ReportConfig":
        low, high = self.ct_window_hu
        if low >= high:
            raise ValueError(f"ct_window_hu must ascend, got {low:g}, {high:g}")
        return self


class ExportConfig(Config):
    """Section `export`."""

    atlases: bool = Field(
        True,
        description="coarse images of the training subjects that find the heart are part of an exported model; "
        "false: they are left out, and `predict` needs --box",
    )
