from tests.crossmodalnet.networks.conftest import _seeded  # noqa: F401
