"""Finished cases of an evaluation, kept for the next run should this one be killed."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from crossmodalnet.io.outputs import whole_file
from pipeline.runtime.work import code_fingerprint, fingerprint, work_folder

LABELS = "prediction.nii.gz"
SCORES = "scores.json"


class KeptCases:
    """Folders of the finished cases of one evaluation, kept until all of it is written.

    `folder` lies below `.work` and is keyed by all that cases have in common: model, code, PyTorch, kind of device.
    Evaluations of one model share it and may run at the same time: a case that one of them removes is computed again
    by another.

    Args:
        trained: folder of the trained model.
        device: device of the network; another kind gives other last digits.
        builder: key of the network, whose code the cases depend on.
    """

    def __init__(self, trained: Path, device: torch.device, builder: str) -> None:
        code = code_fingerprint("evaluate", builder)
        self.folder = work_folder("evaluate", fingerprint(trained, code, torch.__version__, device.type))
        self._used: set[Path] = set()

    def case(self, *inputs: Any) -> Path:
        """Give the folder of a case, keyed by its own inputs; a `Path` stands for content, as in `fingerprint`."""
        folder = self.folder / fingerprint(*inputs)
        self._used.add(folder)
        return folder

    def forget(self) -> None:
        """Remove the cases that were used, once the evaluation is written."""
        for folder in self._used:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # not empty: another evaluation's cases are there
            self.folder.rmdir()


def find_or_compute(
    folder: Path | None, compute: Callable[[], pd.DataFrame], labels: Path | None = None
) -> pd.DataFrame:
    """Give the table of a case that an earlier run has finished, or compute it and keep it.

    Args:
        folder: folder of the case; None: nothing is kept.
        compute: gives the table, and writes the label map.
        labels: label map of the case; None: it has none.
    """
    if folder is None:
        return compute()
    table = find_case(folder, labels)
    if table is None:
        table = compute()
        keep_case(folder, table, labels)
    return table


def find_case(folder: Path, labels: Path | None = None) -> pd.DataFrame | None:
    """Give the exact table of a case that an earlier run has finished, or None; copy its label map to `labels`."""
    try:
        table = pd.DataFrame(json.loads((folder / SCORES).read_text("utf-8")))
        if labels:
            labels.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / LABELS, labels)
    except FileNotFoundError:
        return None
    return table


def keep_case(folder: Path, table: pd.DataFrame, labels: Path | None = None) -> None:
    """Keep a finished case: its label map first, then its table, which marks the case as complete."""
    # If another run, which had the same case, has ended and removed the folder, nothing is kept.
    with suppress(FileNotFoundError):
        if labels:
            with whole_file(folder / LABELS) as temporary:
                shutil.copyfile(labels, temporary)
        with whole_file(folder / SCORES) as temporary:
            # Not `write_json`, which rejects NaN: the score of an undefined structure.
            temporary.write_text(json.dumps(table.to_dict("list")), "utf-8")
