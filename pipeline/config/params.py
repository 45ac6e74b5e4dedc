"""Read and check params.yaml."""

import re
import reprlib
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from crossmodalnet.config import Config
from crossmodalnet.errors import UsageError, did_you_mean
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.training.config import AugmentationConfig
from pipeline.config.network import NetworksConfig
from pipeline.config.sections import (
    AdaptSection,
    CompareConfig,
    CropConfig,
    DataConfig,
    EvaluateConfig,
    ExportConfig,
    LossesConfig,
    ProfileConfig,
    ReportConfig,
    SplitConfig,
    TrainConfig,
    TuneConfig,
)
from pipeline.config.variants import ABLATIONS, ADAPTATIONS
from pipeline.runtime.paths import PARAMS
from pipeline.runtime.workers import RuntimeConfig

S = TypeVar("S", bound=Config)
Seed = Annotated[int, Field(ge=0)]
# Error messages shorten values, which can be of any size.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = 20


with warnings.catch_warnings():
    # Pydantic warns that `register` hides ABCMeta.register, which is not used.
    warnings.filterwarnings("ignore", message='Field name "register"')

    class Params(Config):
        """All sections of params.yaml."""

        models: list[str] = Field(
            ["crossmodalnet"],
            min_length=1,
            description="networks to train and evaluate, keys of `network`; the first is the reference",
        )
        ablations: list[Literal[tuple(ABLATIONS)]] = Field(  # type: ignore[valid-type]
            [], description="ablations of crossmodalnet to train; `params explain ablations` lists them"
        )
        adaptations: list[Literal[tuple(ADAPTATIONS)]] = Field(  # type: ignore[valid-type]
            [], description="variants of the adaptation to train; `params explain adaptations` lists them"
        )
        seeds: list[Seed] = Field(
            [0], min_length=1, description="seeds of weights and samples; each network is trained once per seed"
        )
        runtime: RuntimeConfig = Field(RuntimeConfig(), description="workers; no stage depends on them")
        data: DataConfig = Field(DataConfig(), description="origin of the cohort (stage download)")
        register: RegistrationConfig = Field(
            RegistrationConfig(), description="registration of MR to CT (stage register)"
        )
        split: SplitConfig = Field(SplitConfig(), description="training, validation and test pairs (stage split)")
        crop: CropConfig = Field(CropConfig(), description="the heart ROI on the working grid (stage crop)")
        network: NetworksConfig = Field(NetworksConfig(), description="the networks (stage train)")
        losses: LossesConfig = Field(LossesConfig(), description="objectives and their balance (stage train)")
        augment: AugmentationConfig = Field(
            AugmentationConfig(), description="random changes of training samples (stage train)"
        )
        adapt: AdaptSection = Field(
            AdaptSection(), description="adaptation to an unlabelled domain (stages target and train)"
        )
        train: TrainConfig = Field(TrainConfig(), description="the training (stage train)")
        tune: TuneConfig = Field(TuneConfig(), description="search for learning rates (stage tune)")
        evaluate: EvaluateConfig = Field(EvaluateConfig(), description="inference and metrics (stage evaluate)")
        profile: ProfileConfig = Field(ProfileConfig(), description="cost of a network (stage profile)")
        audit: AuditConfig = Field(AuditConfig(), description="checks of the paper's claims (stage audit)")
        compare: CompareConfig = Field(CompareConfig(), description="statistics of the comparison (stage compare)")
        report: ReportConfig = Field(ReportConfig(), description="the HTML page (stage report)")
        export: ExportConfig = Field(ExportConfig(), description="the model folder for new patients (stage export)")


def read_raw(path: Path = PARAMS) -> dict[str, Any]:
    """Read the file as YAML 1.2, where `1e-05` (from `dvc exp run -S`) is a number, or raise UsageError."""
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} not found: run from the top of the repository") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deep to be parameters") from error
    except YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path} must hold sections, got {type(raw).__name__}")
    if unknown := sorted(set(raw) - set(Params.model_fields)):
        raise UsageError(f"{path}: unknown section {', '.join(unknown)}; known: {', '.join(Params.model_fields)}")
    return raw


def read_value(text: str) -> Any:
    """Read one value as YAML 1.2, as in `-S key=value`; raise UsageError if it is not YAML."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        remedy = "separate entries by commas and close all brackets, as in {LV: 1, Myo: [2, 3]}"
        raise UsageError(f"{text!r} is not valid YAML: {remedy}") from error


def load_section(section: type[S], *keys: str, path: Path = PARAMS) -> S:
    """Read a section, such as `load_section(TrainConfig, "train")`; raise UsageError on invalid values."""
    values: Any = read_raw(path)
    for key in keys:
        values = (values or {}).get(key)
    return validate(section, values or {}, ".".join(keys), path)


def validate(section: type[S], values: Any, prefix: str, path: Path | str = PARAMS) -> S:
    """Check `values` against `section`; messages call it `prefix` in `path`."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        lines = [_explain(prefix, issue) for issue in error.errors()]
        if len(lines) == 1:
            raise UsageError(f"{path}: {lines[0].strip()}") from error
        raise UsageError("\n".join([f"{path} has {len(lines)} bad values:", *lines])) from error


def _explain(prefix: str, issue: Any) -> str:
    key = ".".join([prefix, *(str(part) for part in issue["loc"])]).strip(".")
    if issue["type"] == "extra_forbidden":
        return f"  {key}: unknown key; `crossmodalnet params explain {prefix}` lists the known ones"
    if issue["type"] == "value_error":
        value = "" if isinstance(issue["input"], dict) else f" = {_SHORT.repr(issue['input'])}"  # several keys
        return f"  {key}{value}: {issue['ctx']['error']}"
    known = re.findall(r"'([^']+)'", issue["ctx"]["expected"]) if issue["type"] == "literal_error" else []
    return f"  {key} = {_SHORT.repr(issue['input'])}: {did_you_mean(str(issue['input']), known)}{issue['msg']}"
