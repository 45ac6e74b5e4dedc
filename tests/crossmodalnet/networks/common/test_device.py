import pytest
import torch

from crossmodalnet.errors import ResourceError
from crossmodalnet.networks.common.device import find_device


def test_missing_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto", "evaluate.device").type == "cpu"
    assert find_device("cpu", "evaluate.device").type == "cpu"
    with pytest.raises(ResourceError, match=r"evaluate\.device is cuda, but no GPU"):
        find_device("cuda", "evaluate.device")


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto", "audit.device").type == "cuda"
    assert find_device("cpu", "audit.device").type == "cpu"
