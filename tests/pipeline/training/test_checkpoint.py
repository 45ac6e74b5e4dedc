import threading

import pytest
import torch

from crossmodalnet.errors import DataError, ResourceError
from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoint, exclusive, read_checkpoint, write_checkpoint


def test_a_checkpoint_comes_back_bit_exact(tmp_path):
    shared = torch.rand(3, 4)
    tensors = {"a.x": shared.T, "a.y": shared, "b.step": torch.tensor(7.0)}
    values = {"loss": 0.1 + 0.2, "rows": [{"epoch": 1}], "none": None}
    write_checkpoint(tmp_path / "c", Checkpoint(tensors, values))
    found = read_checkpoint(tmp_path / "c")
    assert found.values == values
    assert torch.equal(found.part("a")["x"], shared.T)
    assert set(found.part("b")) == {"step"}
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "c"
    assert read_checkpoint(path) is None
    write_checkpoint(path, Checkpoint({"a": torch.zeros(100)}, {}))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"damaged .* delete it to train from the start"):
        read_checkpoint(path)


def _steps(weight, optimizer):
    for _ in range(2):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()


def test_a_second_training_in_a_work_folder_is_refused(tmp_path):
    with exclusive(tmp_path), pytest.raises(ResourceError, match="another training"):
        exclusive(tmp_path, 0.3).__enter__()
    with exclusive(tmp_path, 0.0):
        assert (tmp_path / "lock").exists()


def test_a_second_training_waits_for_the_first(tmp_path):
    waiter = threading.Thread(target=lambda: exclusive(tmp_path, 5.0).__enter__())
    with exclusive(tmp_path):
        waiter.start()
        waiter.join(0.3)
        assert waiter.is_alive()
    waiter.join(5)
    assert not waiter.is_alive()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_a_resumed_optimizer_is_bit_exact(tmp_path, memory_format):
    found = []
    for stopped in (False, True):
        weight = torch.nn.Parameter(torch.arange(48.0).view(2, 3, 2, 2, 2).to(memory_format=memory_format))
        optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
        _steps(weight, optimizer)
        if stopped:
            write_checkpoint(tmp_path / "c", Checkpoint(checkpoint.optimizer_tensors(optimizer), {}))
            optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
            checkpoint.restore_optimizer(optimizer, read_checkpoint(tmp_path / "c").tensors)
        _steps(weight, optimizer)
        found.append(weight.detach())
    assert torch.equal(*found)
