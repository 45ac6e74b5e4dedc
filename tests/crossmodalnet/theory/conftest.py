from collections.abc import Callable, Iterator

import pytest
import torch

from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject
from tests.crossmodalnet.theory import subjects


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def settings() -> AuditSettings:
    """As quick as can be."""
    return subjects.QUICK


@pytest.fixture
def make_subject() -> Callable[..., AuditSubject]:
    """Make a small subject; see `subjects.make_subject`."""
    return subjects.make_subject
