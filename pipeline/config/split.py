"""Parameters of the split: which subjects train and which test."""

from typing import Literal

from pydantic import Field, model_validator

from crossmodalnet.config import Config


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
