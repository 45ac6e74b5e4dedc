import pytest
import torch

from crossmodalnet.processes import run_alone
from pipeline.config.sections import LossesConfig, TrainConfig
from pipeline.evaluation.workload import Workload, measure_memory
from pipeline.fitting.plan import LiveBytes, step_bytes


def test_what_lives_is_counted_and_what_is_gone_is_not() -> None:
    with LiveBytes() as live:
        first = torch.empty(100, device="meta")
        view = first[:50]
        second = first + 1
        assert live.now == 800
        del second
        assert live.now == 400
        del first
        assert live.now == 400  # the view shares the storage
        del view
        assert (live.now, live.peak) == (0, 800)


@pytest.mark.stress
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_count_is_what_a_process_grows_by(checkpointing: bool) -> None:
    """An independent measurement: the resident memory of a process that takes the step."""
    size = (48, 48, 48)
    options = {"checkpointing": checkpointing, "deep_supervision": True}
    work = Workload(
        "crossmodalnet", options, TrainConfig(patch_size=size, batch_size=2), LossesConfig(), size, 0.5,
        torch.device("cpu"), 1, 0,
    )  # fmt: skip
    counted = step_bytes("crossmodalnet", options, size, 2, ("dice", "ce")) / 2**20
    assert run_alone(measure_memory, work).step_mb == pytest.approx(counted, rel=0.2)
