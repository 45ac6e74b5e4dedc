"""The whole of params.yaml, for the console; a stage reads its own sections only."""

import warnings
from typing import Annotated

from pydantic import Field

from crossmodalnet.config import Config
from pipeline.config.ablations import Ablation
from pipeline.config.audit import AuditParams
from pipeline.config.augment import AugmentParams
from pipeline.config.compare import CompareParams
from pipeline.config.crop import CropParams
from pipeline.config.data import DataParams
from pipeline.config.evaluate import EvaluateParams
from pipeline.config.export import ExportParams
from pipeline.config.losses import LossesParams
from pipeline.config.networks import NetworkParams
from pipeline.config.profile import ProfileParams
from pipeline.config.register import RegisterParams
from pipeline.config.report import ReportParams
from pipeline.config.runtime import RuntimeParams
from pipeline.config.split import SplitParams
from pipeline.config.target import AdaptSection
from pipeline.config.train import TrainParams
from pipeline.config.tune import TuneParams
from pipeline.config.variants import Adaptation

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
        runtime: RuntimeParams = Field(
            RuntimeParams(), description="workers that compute cases; no stage depends on them"
        )
        data: DataParams = Field(DataParams(), description="origin of the cohort (stage download)")
        register: RegisterParams = Field(
            RegisterParams(), description="registration of MR to CT by ANTs SyN (stage register)"
        )
        split: SplitParams = Field(
            SplitParams(), description="subjects that train, validate and test (stage split)"
        )
        crop: CropParams = Field(CropParams(), description="the heart box on the working grid (stage crop)")
        network: NetworkParams = Field(NetworkParams(), description="the networks (stage train)")
        losses: LossesParams = Field(LossesParams(), description="objectives and their balance (stage train)")
        augment: AugmentParams = Field(
            AugmentParams(), description="random changes of training cases (stage train)"
        )
        adapt: AdaptSection = Field(
            AdaptSection(), description="adaptation to a second, unlabelled domain (stages target and train)"
        )
        train: TrainParams = Field(TrainParams(), description="the training loop (stage train)")
        tune: TuneParams = Field(TuneParams(), description="learning rates to try (stage tune)")
        evaluate: EvaluateParams = Field(
            EvaluateParams(), description="inference and metrics (stage evaluate)"
        )
        profile: ProfileParams = Field(ProfileParams(), description="cost of a network (stage profile)")
        audit: AuditParams = Field(
            AuditParams(), description="checks of the paper's claims on the trained network (stage audit)"
        )
        compare: CompareParams = Field(
            CompareParams(), description="statistics of the comparison (stage compare)"
        )
        report: ReportParams = Field(ReportParams(), description="the HTML page (stage report)")
        export: ExportParams = Field(
            ExportParams(), description="a model folder for new patients (stage export)"
        )
