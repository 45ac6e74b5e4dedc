"""The whole of params.yaml, for the console; a stage reads its own sections only."""

import warnings
from typing import Annotated

from pydantic import Field

from pipeline.params.ablations import Ablation
from pipeline.params.adapt import AdaptParams
from pipeline.params.adaptations import Adaptation
from pipeline.params.audit import AuditParams
from pipeline.params.augment import AugmentParams
from pipeline.params.base import Section
from pipeline.params.compare import CompareParams
from pipeline.params.crop import CropParams
from pipeline.params.data import DataParams
from pipeline.params.evaluate import EvaluateParams
from pipeline.params.losses import LossesParams
from pipeline.params.networks import NetworkParams
from pipeline.params.profile import ProfileParams
from pipeline.params.register import RegisterParams
from pipeline.params.report import ReportParams
from pipeline.params.split import SplitParams
from pipeline.params.train import TrainParams
from pipeline.params.tune import TuneParams

Seed = Annotated[int, Field(ge=0)]


with warnings.catch_warnings():
    # Pydantic warns that `register` hides ABCMeta.register, which nobody calls here.
    warnings.filterwarnings("ignore", message='Field name "register"')

    class Params(Section):
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
            description="what the adaptation is compared with, each trained with every seed; needs adapt.enabled",
        )
        seeds: list[Seed] = Field(
            [0],
            min_length=1,
            description="each network is trained once per seed, of its first weights and its samples",
        )
        data: DataParams = Field(DataParams(), description="where the cohort comes from (stage download)")
        register: RegisterParams = Field(
            RegisterParams(), description="MR to CT by ANTs SyN (stage register)"
        )
        split: SplitParams = Field(
            SplitParams(), description="which subjects train and which test (stage split)"
        )
        crop: CropParams = Field(CropParams(), description="the heart box on the working grid (stage crop)")
        network: NetworkParams = Field(NetworkParams(), description="the networks (stage train)")
        losses: LossesParams = Field(LossesParams(), description="objectives and their balance (stage train)")
        augment: AugmentParams = Field(
            AugmentParams(), description="random changes of training cases (stage train)"
        )
        adapt: AdaptParams = Field(
            AdaptParams(), description="adaptation to a second, unlabelled domain (stages target and train)"
        )
        train: TrainParams = Field(TrainParams(), description="the training loop (stage train)")
        tune: TuneParams = Field(TuneParams(), description="learning rates to try (stage tune)")
        evaluate: EvaluateParams = Field(
            EvaluateParams(), description="inference and metrics (stage evaluate)"
        )
        profile: ProfileParams = Field(ProfileParams(), description="what a network costs (stage profile)")
        audit: AuditParams = Field(
            AuditParams(), description="checks of the paper's claims on the trained network (stage audit)"
        )
        compare: CompareParams = Field(
            CompareParams(), description="statistics of the comparison (stage compare)"
        )
        report: ReportParams = Field(ReportParams(), description="the HTML page (stage report)")
