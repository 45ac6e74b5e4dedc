"""Who computes cases: no stage depends on it, since no result does."""

from pydantic import Field

from crossmodalnet.config import Config


class RuntimeConfig(Config):
    """Section `runtime`: in no `params` of dvc.yaml, so that changing it reruns nothing."""

    workers: int = Field(
        0,
        ge=0,
        description="cases computed at once on this machine; 0: one per core, as far as memory allows",
    )
    scheduler: str | None = Field(
        None,
        min_length=1,
        description="address of a scheduler of dask.distributed whose workers compute the cases, for instance "
        "tcp://login1:8786; null: processes of this machine",
    )
