"""Parameters of the training."""

from typing import Any, Literal

from pydantic import Field, model_validator

from crossmodalnet.config import Config, FloatPair, IntTriple

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
