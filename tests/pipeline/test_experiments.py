from io import StringIO
from typing import Any

from rich.console import Console

from pipeline.experiments import list_experiments, print_experiments


def revision(name: str, lr: float, dice: dict[str, float] | None, runs: Any = None) -> dict[str, Any]:
    metrics = {f"metrics/{path}.json": {"data": {"dice": value}} for path, value in (dice or {}).items()}
    params = {"params.yaml": {"data": {"train": {"lr": lr, "epochs": 20}}}}
    data = {"params": params, "metrics": metrics}
    return {"name": name, "rev": "0" * 40, "data": data, "experiments": runs}


def test_experiments_are_listed_with_what_they_changed_and_means_over_seeds() -> None:
    tried = revision("calm-ibis", 4e-3, {"crossmodalnet/seed0": 0.7, "crossmodalnet/seed1": 0.8, "mednext/seed0": 0.5})
    broken = {"name": "sad-newt", "rev": "1" * 40, "data": None, "error": {"msg": "failed"}, "experiments": None}
    runs = [{"revs": [tried]}, {"revs": [broken]}]
    shown = [revision("main", 8e-3, {"crossmodalnet/seed0": 0.6}, runs), revision("older", 8e-3, None)]
    lock = "stages: {train@crossmodalnet-0: {params: {params.yaml: {train: {lr: 0.004, epochs: 20}}}}}"
    experiments = list(list_experiments(shown, lambda rev: lock))
    assert [found.name for found in experiments] == ["main (not run)", "calm-ibis", "sad-newt (failed)", "older"]
    assert [dict(found.changes) for found in experiments[:2]] == [{}, {"train.lr": 4e-3}]
    assert experiments[1].metrics["dice"].round(3).to_dict() == {"crossmodalnet": 0.75, "mednext": 0.5}
    console = Console(width=80, file=StringIO())
    print_experiments(experiments, console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("train.lr=0.004" in line and "0.750" in line for line in lines)
    assert "not run: the metrics are of other parameters" in lines[-1]
    assert any("MedNeXt" in line and "0.500" in line for line in lines)
