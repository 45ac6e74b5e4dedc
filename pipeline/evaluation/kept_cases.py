"""Cases of an evaluation that are finished while others are not: kept for the next run, should this one be killed."""

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
    """Where the finished cases of one evaluation are kept, until all of it is written.

    Evaluations of one model share the folder, `dvc queue` may run them at the same time: what one of them no longer
    needs may vanish under another, which then computes its case.

    Args:
        trained: folder of the trained model.
        device: device of the network; another kind gives other last digits.
        builder: key of the network, whose code the cases depend on.

    Attributes:
        folder: folder below `.work`, named by all that cases have in common (model, code, PyTorch, kind of device), of
            which each case has a folder.
    """

    def __init__(self, trained: Path, device: torch.device, builder: str) -> None:
        code = code_fingerprint("evaluate", builder)
        self.folder = work_folder("evaluate", fingerprint(trained, code, torch.__version__, device.type))
        self._asked: set[Path] = set()

    def case(self, *inputs: Any) -> Path:
        """Give the folder of a case, by what concerns it alone; a `Path` stands for content, as in `fingerprint`."""
        folder = self.folder / fingerprint(*inputs)
        self._asked.add(folder)
        return folder

    def forget(self) -> None:
        """Remove the cases that were asked for, once the evaluation is written."""
        for folder in self._asked:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # Not empty: another evaluation's cases are there.
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
    table = find_case(folder, labels)
    if table is None:
        table = compute()
        keep_case(folder, table, labels)
    return table


def find_case(folder: Path | None, labels: Path | None = None) -> pd.DataFrame | None:
    """Give the table of a case that an earlier run has finished, to the last digit; None where there is none.

    Args:
        folder: folder of the case; None: nothing is kept.
        labels: where the label map of the case is copied to; None: it has none.
    """
    if folder is None:
        return None
    try:
        table = pd.DataFrame(json.loads((folder / SCORES).read_text("utf-8")))
        if labels:
            labels.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / LABELS, labels)
    except FileNotFoundError:
        return None
    return table


def keep_case(folder: Path | None, table: pd.DataFrame, labels: Path | None = None) -> None:
    """Keep the table of a finished case, and its label map, which comes first: a table says that all is there."""
    if folder is None:
        return
    try:
        if labels:
            with whole_file(folder / LABELS) as temporary:
                shutil.copyfile(labels, temporary)
        with whole_file(folder / SCORES) as temporary:
            # Not `write_json`, which has no NaN: that of a structure that is not there.
            temporary.write_text(json.dumps(table.to_dict("list")), "utf-8")
    except FileNotFoundError:
        return  # Another run, which had the same case, has ended and removed it.
