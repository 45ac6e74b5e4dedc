"""The whole of params.yaml, for the console; a stage reads its own sections only."""

import warnings
from typing import Annotated

from pydantic import Field

from crossmodalnet.config import Config
from crossmodalnet.theory.config import AuditConfig
from pipeline.config.ablations import Ablation
from pipeline.config.augment import AugmentConfig
from pipeline.config.compare import CompareConfig
from pipeline.config.crop import CropConfig
from pipeline.config.data import DataConfig
from pipeline.config.evaluate import EvaluateConfig
from pipeline.config.export import ExportConfig
from pipeline.config.losses import LossesConfig
from pipeline.config.networks import NetworkConfig
from pipeline.config.profile import ProfileConfig
from pipeline.config.register import RegistrationConfig
from pipeline.config.report import ReportConfig
from pipeline.config.split import SplitConfig
from pipeline.config.target import AdaptSection
from pipeline.config.train import TrainConfig
from pipeline.config.tune import TuneConfig
from pipeline.config.variants import Adaptation
from pipeline.runtime.params import RuntimeConfig

Seed = Annotated[int, Field(ge=0)]


with warnings.catch_warnings():
    # Pydantic warns that `register` hides ABCMeta.register, which nobody calls here.
    warnings.filterwarnings("ignore", message='Field name "register"')

    class Params(Config):
        """All sections."""

        models: list[str] = Field(
            ["crossmodalnet"],
            min_length=1,
            description="networks to train and evaluate, each a key of `network`; the first is the reference",
        )
        ablations: list[Ablation] = Field(
            [],
            description="variants of crossmodalnet that show what its parts bring, each trained with every seed",
        )
        adaptations: list[Adaptation] = Field(
            [],
            description="comparisons of the adaptation, each trained with every seed; need adapt.enabled",
        )
        seeds: list[Seed] = Field(
            [0],
            min_length=1,
            description="seeds of first weights and of samples; each network is trained once per seed",
        )
        runtime: RuntimeConfig = Field(
            RuntimeConfig(), description="workers that compute cases; no stage depends on them"
        )
        data: DataConfig = Field(DataConfig(), description="origin of the cohort (stage download)")
        register: RegistrationConfig = Field(
            RegistrationConfig(), description="registration of MR to CT by ANTs SyN (stage register)"
        )
        split: SplitConfig = Field(
            SplitConfig(), description="subjects that train, validate and test (stage split)"
        )
        crop: CropConfig = Field(CropConfig(), description="the heart box on the working grid (stage crop)")
        network: NetworkConfig = Field(NetworkConfig(), description="the networks (stage train)")
        losses: LossesConfig = Field(LossesConfig(), description="objectives and their balance (stage train)")
        augment: AugmentConfig = Field(
            AugmentConfig(), description="random changes of training cases (stage train)"
        )
        adapt: AdaptSection = Field(
            AdaptSection(), description="adaptation to a second, unlabelled domain (stages target and train)"
        )
        train: TrainConfig = Field(TrainConfig(), description="the training loop (stage train)")
        tune: TuneConfig = Field(TuneConfig(), description="learning rates to try (stage tune)")
        evaluate: EvaluateConfig = Field(
            EvaluateConfig(), description="inference and metrics (stage evaluate)"
        )
        profile: ProfileConfig = Field(ProfileConfig(), description="cost of a network (stage profile)")
        audit: AuditConfig = Field(
            AuditConfig(), description="checks of the paper's claims on the trained network (stage audit)"
        )
        compare: CompareConfig = Field(
            CompareConfig(), description="statistics of the comparison (stage compare)"
        )
        report: ReportConfig = Field(ReportConfig(), description="the HTML page (stage report)")
        export: ExportConfig = Field(
            ExportConfig(), description="a model folder for new patients (stage export)"
        )
