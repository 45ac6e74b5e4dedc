"""Define the sections of params.yaml that only the pipeline uses."""

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from crossmodalnet.config import Config, FloatPair, IntTriple
from crossmodalnet.errors import did_you_mean
from crossmodalnet.imaging.codes import CODE_SETS, own_codes
from crossmodalnet.phantom import Scanner
from crossmodalnet.registration.config import TransformName
from crossmodalnet.training.adaptation.config import AdaptationConfig

Abbreviation = Literal["LV", "RV", "LA", "RA", "Myo", "AO", "PA"]
Rate = Annotated[float, Field(gt=0)]
Shift = Annotated[float, Field(ge=0)]
V = TypeVar("V")

# Keys of section `train` that do not change the result.
EXECUTION = frozenset({"devices", "num_threads"})


def _different(values: list[V]) -> list[V]:
    if len(set(values)) != len(values):
        raise ValueError("entries must differ")
    return values


class Archive(Config):
    """An archive to download."""

    url: str = Field(description="address of a zip archive", pattern=r"^(https?|file)://")
    sha256: str = Field(
        description="SHA-256 checksum of the archive, 64 hexadecimal digits", pattern=r"^[0-9a-fA-F]{64}$"
    )


class PhantomConfig(Config):
    """A cohort of the whole-heart phantom."""

    seed: int = Field(0, ge=0, description="seed of all subjects")
    num_labelled: int = Field(20, ge=3, le=999, description="labelled subjects per modality")
    num_unlabelled: int = Field(2, ge=0, le=999, description="unlabelled subjects per modality")
    ct_spacing_mm: float = Field(2.0, ge=0.4, le=6, description="CT in-plane spacing, mm")
    mr_spacing_mm: float = Field(2.2, ge=0.4, le=6, description="MR in-plane spacing, mm; slices are thicker")
    scanner: Scanner = Field("reference", description="scanners and protocols, see docs/comparison.md")
    same_patients: bool = Field(
        False, description="CT and MR with the same number are of one patient; false: all patients differ, as in MM-WHS"
    )


class DataConfig(Config):
    """Section `data`."""

    source: Literal["phantom", "mmwhs", "table"] = Field(
        "phantom", description="source of the cohort; mmwhs: MM-WHS or a folder in its layout; table: your own data"
    )
    path: str | list[str] | None = Field(
        None, description="folder or zip archives of source mmwhs; CSV or nnU-Net folder of source table"
    )
    labels: (
        Literal["auto", "mmwhs", "index", "totalsegmentator", "totalsegmentator_v1"] | dict[str, int | list[int]]
    ) = Field("auto", description="coding of the label maps of source table, see docs/own_data.md")
    missing: list[Abbreviation] = Field(
        [], description="structures without labels in source table; they are not scored"
    )
    urls: list[Archive] = Field([], description="archives to download for source mmwhs, each {url, sha256}")
    max_unpacked_gb: float = Field(60.0, gt=0, description="largest unpacked size of the archives, GB")
    phantom: PhantomConfig = Field(PhantomConfig(), description="cohort of the embedded whole-heart phantom")

    @field_validator("labels", mode="before")
    @classmethod
    def _name_is_known(cls, labels: Any) -> Any:
        known = ("auto", *CODE_SETS)
        values = labels.values() if isinstance(labels, dict) else ()
        types = {type(number) for value in values for number in (value if isinstance(value, list) else [value])}
        if types - {int} or (not types and labels not in known):
            close = did_you_mean(str(labels), known)
            raise ValueError(f"{close}Known are {', '.join(known)}, or values by structure: {{LV: 1, Myo: 2}}")
        return labels

    @model_validator(mode="after")
    def _keys_suit_the_source(self) -> "DataConfig":
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


class TargetPhantomConfig(Config):
    """The second phantom cohort: other patients (seed 1) and another scanner."""

    num_labelled: int = Field(
        20, ge=3, le=999, description="subjects per modality; labels are for scores and the supervised bound"
    )
    ct_spacing_mm: float = Field(2.4, ge=0.4, le=6, description="CT in-plane spacing, mm")
    mr_spacing_mm: float = Field(2.8, ge=0.4, le=6, description="MR in-plane spacing, mm; slices are thicker")


class TargetConfig(Config):
    """The target domain of scenario `cohort`."""

    source: Literal["phantom", "unlabelled", "mmwhs"] = Field(
        "phantom",
        description="source of the target; unlabelled: the cohort's unlabelled subjects; mmwhs: another cohort",
    )
    path: str | list[str] | None = Field(None, description="folder or zip archives of source mmwhs")
    urls: list[Archive] = Field([], description="archives to download for source mmwhs, each {url, sha256}")
    phantom: TargetPhantomConfig = Field(TargetPhantomConfig(), description="second phantom cohort")

    @model_validator(mode="after")
    def _keys_suit_the_source(self) -> "TargetConfig":
        if self.source == "mmwhs" and not self.path and not self.urls:
            raise ValueError("source mmwhs needs a path or urls, got neither")
        if self.source != "mmwhs" and (self.path or self.urls):
            raise ValueError(
                f"path and urls have no effect with source {self.source}: set source to mmwhs, or path to null and "
                "urls to []"
            )
        return self

    def as_data(self) -> DataConfig:
        """Convert to a section `data`; raise ValueError for source `unlabelled`."""
        if self.source == "unlabelled":
            raise ValueError("source must be phantom or mmwhs to be laid out, got unlabelled")
        phantom = PhantomConfig(**self.phantom.model_dump(), seed=1, num_unlabelled=0, scanner="other")
        return DataConfig(source=self.source, path=self.path, urls=self.urls, phantom=phantom)


class _Domains(Config):
    """Domain keys of section `adapt`."""

    enabled: bool = Field(False, description="adaptation to a target domain whose labels training never sees")
    scenario: Literal["cohort", "ct_to_mr", "mr_to_ct"] = Field(
        "cohort",
        description="domains; cohort: from the cohort's pairs to those of target; ct_to_mr, mr_to_ct: between "
        "modalities",
    )
    target: TargetConfig = Field(TargetConfig(), description="target domain of scenario cohort")


class AdaptSection(AdaptationConfig, _Domains):
    """Section `adapt`: domain keys, then the options of JADA."""


class SplitConfig(Config):
    """Section `split`."""

    seed: int = Field(0, ge=0, description="seed of the shuffle of subjects")
    test_fraction: float = Field(
        0.25, gt=0, lt=1, description="share of the labelled subjects of each modality used for testing"
    )
    validation_fraction: float = Field(
        0.15, gt=0, lt=1, description="share of the training pairs used to select the checkpoint"
    )
    folds: int = Field(1, ge=1, description="folds of cross-validation; 1: a single split by test_fraction")
    fold: int = Field(0, ge=0, description="index of the test fold, 0 to folds - 1")
    pairing: Literal["auto", "same_patient", "cross_patient"] = Field(
        "auto",
        description="pairs; auto: of one patient where there are both scans; same_patient: only these; "
        "cross_patient: of two patients only",
    )
    mrs_per_ct: int = Field(
        1, ge=1, le=100, description="training MRs registered to each training CT; multiplies the training pairs"
    )

    @model_validator(mode="after")
    def _fold_exists(self) -> "SplitConfig":
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist with folds: {self.folds}; the last is {self.folds - 1}")
        return self


class CropConfig(Config):
    """Section `crop`."""

    roi: Literal["atlas", "labels"] = Field(
        "atlas",
        description="source of the ROI; atlas: propagated labels of training subjects; labels: the subject's own "
        "label map",
    )
    margin_mm: float = Field(5.0, ge=0, le=100, description="margin around the heart ROI on every side, mm")
    spacing_mm: float = Field(3.5, gt=0, le=10, description="isotropic spacing of the working grid, mm")
    size: IntTriple = Field((40, 40, 40), description="size of the working grid, voxels along world x, y, z")
    num_atlases: int = Field(3, ge=1, description="training subjects whose labels vote for the ROI")
    atlas_spacing_mm: float = Field(5.0, gt=0, le=10, description="spacing of the affine atlas registration, mm")


class LossesConfig(Config):
    """Section `losses`."""

    objectives: list[Literal["dice", "ce"]] = Field(
        ["dice", "ce"], min_length=1, description="losses to minimise: soft Dice, cross-entropy"
    )
    balancing: Literal["paper", "harder", "uniform"] = Field(
        "paper",
        description="weights of the objectives; paper: Eq. 23, more for the smaller loss; harder: more for the larger; "
        "uniform: equal",
    )
    alpha: float = Field(0.5, ge=0, description="sharpness of the balancing, alpha of Eq. 23")
    cmif: float = Field(
        0.0, ge=0, description="weight of the penalty on falling information flow (Theorem 2.7); 0: off"
    )
    deep_supervision: bool = Field(
        True, description="losses on coarser outputs too, for crossmodalnet and networks published with them"
    )

    _objectives_differ = field_validator("objectives")(_different)


class TrainConfig(Config):
    """Section `train`."""

    budget: Literal["epochs", "seconds"] = Field(
        "epochs",
        description="budget of each network; epochs: equal steps; seconds: equal training time on this machine",
    )
    epochs: int = Field(20, ge=1, description="passes over the training pairs, for budget epochs")
    seconds: float = Field(240.0, gt=0, description="training time without validation, s, for budget seconds")
    samples_per_case: int = Field(2, ge=1, description="samples per training pair and epoch, each augmented anew")
    batch_size: int = Field(2, ge=1, description="samples per step over all processes")
    lr: float = Field(
        8e-3, gt=0, description="learning rate of Adam, for networks without their own; the paper's is 1e-5"
    )
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="schedule of the learning rate: constant, or cosine down to 1 % of lr"
    )
    warmup_fraction: float = Field(0.05, ge=0, lt=1, description="share of the steps over which lr rises from 0")
    grad_clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: no limit")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="EMA decay of the weights; 0 turns EMA off")
    patch_size: IntTriple = Field(
        (40, 40, 40), description="size of a patch, voxels; if smaller than crop.size, patches are random"
    )
    modality_dropout: float = Field(
        0.0, ge=0, lt=1, description="probability that a training pair loses its CT or its MR; 0: off"
    )
    ct_window_hu: FloatPair = Field((-200.0, 600.0), description="CT values mapped to 0 and 1, HU")
    mr_percentiles: FloatPair = Field((0.5, 99.5), description="percentiles of each MR mapped to 0 and 1")
    validate_every: int = Field(
        4, ge=1, description="epochs between validations; the first and last are always validated"
    )
    mixed_precision: Literal["auto", "off"] = Field(
        "auto", description="precision; auto: bf16 or fp16 on a GPU only; off: float32"
    )
    checkpointing: bool = Field(False, description="recompute activations in the backward pass: less memory, slower")
    devices: Literal["auto"] | int = Field(
        "auto", description="processes; auto: one per GPU, or without GPUs one per core if each gets two samples"
    )
    num_threads: int = Field(0, ge=0, description="CPU threads of all processes together; 0: one per core")

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
        """Return the values that change the result: all but device and thread counts."""
        return self.model_dump(mode="json", exclude=set(EXECUTION))


class TuneConfig(Config):
    """Section `tune`."""

    models: list[str] = Field([], description="networks to try learning rates on; []: no search")
    learning_rates: list[Rate] = Field(
        [2e-3, 4e-3, 8e-3], min_length=1, description="learning rates to try on each network of tune.models"
    )
    epochs: int = Field(8, ge=1, description="passes over the training pairs per trial")

    _entries_differ = field_validator("models", "learning_rates")(_different)


class EvaluateConfig(Config):
    """Section `evaluate`."""

    overlap: float = Field(
        0.5, ge=0, lt=1, description="overlap of neighbouring windows of the sliding window, share of a patch"
    )
    keep_largest_component: bool = Field(
        True, description="keep only the largest connected component of each predicted structure"
    )
    nsd_tolerance_mm: float = Field(
        3.0, gt=0, le=50, description="tolerance of the normalised surface Dice, mm; should exceed the voxel size"
    )
    misregistration_mm: list[Shift] = Field(
        [0.0, 5.0, 10.0, 15.0],
        description="shifts of the MR at which Dice is measured, ascending from 0, mm; []: not measured",
    )
    misregistration_degrees: float = Field(
        10.0,
        ge=0,
        le=180,
        description="rotation of the MR at the largest shift, degrees; proportional at smaller shifts",
    )
    bootstrap_samples: int = Field(
        10000, ge=100, le=1_000_000, description="resamplings of the test pairs for 95 % intervals"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="device; auto: a GPU if there is one")
    # Seed of the bootstrap and of the directions of misregistration.
    seed: ClassVar[int] = 0

    @field_validator("misregistration_mm")
    @classmethod
    def _ascend_from_zero(cls, value: list[float]) -> list[float]:
        if value and (value[0] != 0 or sorted(set(value)) != value):
            raise ValueError(f"shifts must ascend from 0, got {value}")
        return value


class ProfileConfig(Config):
    """Section `profile`."""

    repetitions: int = Field(
        7,
        ge=0,
        le=1000,
        description="timed steps and cases, each paired with one of a reference network; 0: no profile",
    )
    # Time limit of steps and of cases, s; at least three are timed.
    max_seconds: ClassVar[float] = 30.0
    # Steps and cases before timing starts; seed of weights, images and labels.
    warmup: ClassVar[int] = 2
    seed: ClassVar[int] = 0
    device: ClassVar[str] = "auto"
    num_threads: ClassVar[int] = 0


class CompareConfig(Config):
    """Section `compare`."""

    bootstrap_samples: int = Field(
        10000, ge=100, le=1_000_000, description="resamplings of subjects and seeds for intervals and ranks"
    )
    # Significance level after Holm's correction; seed of the bootstrap.
    alpha: ClassVar[float] = 0.05
    seed: ClassVar[int] = 0


class ReportConfig(Config):
    """Section `report`."""

    panel_px: int = Field(320, ge=64, le=1024, description="longest side of an overlay panel, pixels")
    # Sizes in pixels and mm; CT window in HU.
    checkerboard_px: ClassVar[int] = 440
    margin_mm: ClassVar[float] = 12.0
    ct_window_hu: ClassVar[tuple[float, float]] = (-160.0, 440.0)
    jpeg_quality: ClassVar[int] = 82


class ExportConfig(Config):
    """Section `export`."""

    atlases: bool = Field(
        True, description="export coarse training images (atlases) to find the ROI; false: `predict` needs --box"
    )
    transform: TransformName | None = Field(
        None, description="register.transform for new patients; null: as in training; Centres: for aligning networks"
    )
