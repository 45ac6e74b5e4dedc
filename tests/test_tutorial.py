import ast
import json
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from pipeline.runtime.paths import TOP

NOTEBOOK = json.loads((TOP / "docs/tutorial.ipynb").read_text("utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_has_no_outputs_and_imports_the_library_by_its_front_door() -> None:
    assert [cell for cell in NOTEBOOK["cells"] if cell.get("outputs")] == []
    nodes = list(ast.walk(ast.parse("\n".join(CODE))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    others = {
        name for name in names if name.split(".")[0] not in {"numpy", "torch", "matplotlib", "tempfile", "pathlib"}
    }
    assert others == {"crossmodalnet"}


@pytest.mark.slow
def test_it_runs_and_finds_the_heart_of_a_subject_that_it_has_not_seen() -> None:
    mpl.use("Agg")
    space: dict[str, Any] = {}
    try:
        for number, code in enumerate(CODE):
            exec(compile(code, f"docs/tutorial.ipynb, code cell {number}", "exec"), space)
        voxels = np.zeros((2, *space["SIZE"]))
        voxels[0, -1, -1, 11] = voxels[0, 11, -1, -1] = 1  # right and front; front and top
        axial, sagittal = (space["draw"](voxels).axes[place].images[0].get_array() for place in (0, 2))
    finally:
        plt.close("all")
    assert axial[0, 0] == sagittal[0, 0] == 1
    assert all(last < first for first, last in zip(space["curves"][0], space["curves"][-1], strict=True))
    assert space["scores"]["dice"].mean() > 0.5
