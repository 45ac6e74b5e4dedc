"""Define artefact paths relative to the top of the repository, where stages run."""

from pathlib import Path

# Repository whose code runs; it can differ from the folder that stages run in.
TOP = Path(__file__).resolve().parents[2]
PARAMS = Path("params.yaml")
CHECKED = Path("data/checked.json")
RAW = Path("data/raw")
MANIFEST = RAW / "manifest.csv"
REGISTERED = Path("data/registered")
REGISTRATION_QC = Path("data/registration_qc")
CROPPED = Path("data/cropped")
CROP_QC = Path("data/crop_qc.csv")
SPLIT = Path("data/split.json")
TARGET = Path("data/target")
TARGET_LABELS = Path("data/target_labels")
MODELS = Path("models")
EXPORT = Path("exported")
CURVES = Path("curves")
EVALUATION = Path("evaluation")
METRICS = Path("metrics")
TUNING = Path("tuning")
PROFILE = Path("profile")
COMPARISON = Path("comparison")
AUDIT = Path("audit")
REPORT = Path("report")
# Folders that DVC empties before it runs a stage or an experiment.
OUTPUTS = (
    RAW, REGISTERED, REGISTRATION_QC, SPLIT, CROPPED, CROP_QC,
    TARGET, TARGET_LABELS, MODELS, EXPORT, CURVES, EVALUATION, METRICS,
    TUNING, PROFILE, COMPARISON, AUDIT, REPORT,
)  # fmt: skip


def of_run(folder: Path, name: str, seed: int) -> Path:
    """Return the folder or file of one training below one of the folders above."""
    return folder / name / f"seed{seed}"
