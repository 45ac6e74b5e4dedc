"""Dice of a model's test pairs through `Predictor`, from CT and MR together and from either alone.

    python -m benchmarks.predict_modalities MODEL

in a folder in which the stages `download` and `split` were run; MODEL was exported after a training with
train.modality_dropout. A label map on the CT's grid is scored against the CT's label, one on the MR's grid against the
MR's.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodalnet.imaging.nifti import read_label_map
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.predictor import Predictor
from crossmodalnet.metrics.overlap import dice

RAW = Path("data/raw")


def score(found: Volume | None, truth: Path) -> float:
    """Mean Dice of the structures."""
    assert found is not None
    expected = read_label_map(truth).data
    return float(np.mean([dice(found.data == entry.index, expected == entry.index) for entry in STRUCTURES]))


def main() -> None:
    """Print a row per test pair, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path, help="folder of an exported model")
    options = parser.parse_args()
    files = pd.read_csv(RAW / "manifest.csv").set_index("subject")
    rows = []
    for pair in json.loads(Path("data/split.json").read_text("utf-8"))["test"]:
        images = {name: RAW / files.loc[pair[name], "image"] for name in ("ct", "mr")}
        labels = {name: RAW / files.loc[pair[name], "label"] for name in ("ct", "mr")}
        row: dict[str, float] = {}
        plain = Predictor.load(options.model)
        both = plain(**images)
        row["pair, CT"] = score(both.ct_labels, labels["ct"])
        row["pair, MR"] = score(both.mr_labels, labels["mr"])
        row["CT alone"] = score(plain(ct=images["ct"]).ct_labels, labels["ct"])
        row["MR alone"] = score(plain(mr=images["mr"]).mr_labels, labels["mr"])
        rows.append(row)
        print(pair["pair"], ", ".join(f"{name} {value:.3f}" for name, value in row.items()), flush=True)
    print("mean", ", ".join(f"{name} {value:.3f}" for name, value in pd.DataFrame(rows).mean().items()))


if __name__ == "__main__":
    main()
