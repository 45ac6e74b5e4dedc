"""Keep the finished cases of an evaluation, to resume after a kill."""

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
    """Cache folders of the finished cases of one evaluation, until all is written.

    `folder` is keyed by model, code, PyTorch and kind of device. Concurrent evaluations of one model may share it.

    Args:
        builder: key of the network, whose code the cases depend on.
    """

    def __init__(self, trained: Path, device: torch.device, builder: str) -> None:
        code = code_fingerprint("evaluate", builder)
        self.folder = work_folder("evaluate", fingerprint(trained, code, torch.__version__, device.type))
        self._used: set[Path] = set()

    def case(self, *inputs: Any) -> Path:
        """Return the folder of a case, keyed by its inputs; a `Path` stands for its content."""
        folder = self.folder / fingerprint(*inputs)
        self._used.add(folder)
        return folder

    def forget(self) -> None:
        """Remove the used cases once the evaluation is written."""
        for folder in self._used:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # not empty: another evaluation's cases are there
            self.folder.rmdir()


def find_or_compute(
    folder: Path | None, compute: Callable[[], pd.DataFrame], labels: Path | None = None
) -> pd.DataFrame:
    """Reuse the table of a finished case, or compute and keep it; `folder` None disables the cache."""
    if folder is None:
        return compute()
    table = find_case(folder, labels)
    if table is None:
        table = compute()
        keep_case(folder, table, labels)
    return table


def find_case(folder: Path, labels: Path | None = None) -> pd.DataFrame | None:
    """Return the exact table of a finished case, or None; copy its label map to `labels`."""
    try:
        table = pd.DataFrame(json.loads((folder / SCORES).read_text("utf-8")))
        if labels:
            labels.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / LABELS, labels)
    except FileNotFoundError:
        return None
    return table


def keep_case(folder: Path, table: pd.DataFrame, labels: Path | None = None) -> None:
    """Keep a finished case; its table comes last and marks it as complete."""
    # Another run may have removed the folder.
    with suppress(FileNotFoundError):
        if labels:
            with whole_file(folder / LABELS) as temporary:
                shutil.copyfile(labels, temporary)
        with whole_file(folder / SCORES) as temporary:
            # Not `write_json`, which rejects NaN: the score of an undefined structure.
            temporary.write_text(json.dumps(table.to_dict("list")), "utf-8")
