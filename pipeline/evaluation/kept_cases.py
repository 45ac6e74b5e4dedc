"""Cases of an evaluation that are finished while others are not: kept for the next run, should this one be killed."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pipeline.common.work import code_fingerprint, fingerprint, work_folder

LABELS = "prediction.nii.gz"
SCORES = "scores.json"


@dataclass(frozen=True)
class KeptCases:
    """Where the finished cases of one evaluation are kept, until all of it is written.

    Attributes:
        folder: folder of the evaluation below `.work`, of which each case has a folder.
    """

    folder: Path

    @classmethod
    def of(cls, trained: Path, device: torch.device) -> "KeptCases":
        """Name the folder by all that cases have in common: model, code, PyTorch and kind of device.

        Args:
            trained: folder of the trained model.
            device: device of the network; another kind gives other last digits.
        """
        code = code_fingerprint("pipeline.evaluation.evaluate_pairs")
        return cls(work_folder("evaluate", fingerprint(trained, code, torch.__version__, device.type)))

    def case(self, *inputs: Any) -> Path:
        """Give the folder of a case, by what concerns it alone; a `Path` stands for content, as in `fingerprint`."""
        return self.folder / fingerprint(*inputs)

    def forget(self) -> None:
        """Remove all, once the evaluation is written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def kept_table(folder: Path | None, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Read the table of a case that an earlier run has finished, or compute it and keep it.

    Args:
        folder: folder of the case; None: nothing is kept.
        compute: gives the table; its numbers come back from the file to the last digit.
    """
    if folder is None:
        return compute()
    path = folder / SCORES
    if not path.is_file():
        table = compute()
        folder.mkdir(parents=True, exist_ok=True)
        # Two runs may have the same case at the same time, on two machines perhaps: each has a name of its own.
        temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.partial")
        temporary.write_text(json.dumps(table.to_dict("list")), "utf-8")
        temporary.replace(path)
    # Read in either case, so that a table is the same whether its case was finished before or now.
    return pd.DataFrame(json.loads(path.read_text("utf-8")))
