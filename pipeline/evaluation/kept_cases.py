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
    """Reuse the exact table of a finished case, or compute and keep it; `folder` None disables the cache.

    A finished case's label map is copied to `labels`; what is computed must have written it there.
    """
    if folder is None:
        return compute()
    with suppress(FileNotFoundError):
        found = pd.DataFrame(json.loads((folder / SCORES).read_text("utf-8")))
        if labels:
            labels.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / LABELS, labels)
        return found
    table = compute()
    with suppress(FileNotFoundError):  # another run may have removed the folder
        if labels:
            with whole_file(folder / LABELS) as temporary:
                shutil.copyfile(labels, temporary)
        with whole_file(folder / SCORES) as temporary:  # last: it marks the case as complete
            # Not `write_json`, which rejects NaN: the score of an undefined structure.
            temporary.write_text(json.dumps(table.to_dict("list")), "utf-8")
    return table
