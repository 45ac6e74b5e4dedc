"""Section `adapt` as a whole: with the place where the images of the target domain come from."""

from typing import Literal

from pydantic import Field, model_validator

from crossmodalnet.config import Config
from pipeline.config.adapt import AdaptationConfig
from pipeline.config.data import Archive, DataConfig, PhantomConfig


class TargetConfig(Config):
    """Where the images of the target domain come from, in the scenario `cohort`."""

    source: Literal["phantom", "unlabelled", "mmwhs"] = Field(
        "phantom",
        description="source of the target domain; phantom: a second phantom cohort; unlabelled: the "
        "subjects of the cohort that have no labels "
        "(MM-WHS 2001 to 2040); mmwhs: another cohort laid out like MM-WHS, whose labels only evaluate sees",
    )
    path: str | list[str] | None = Field(
        None,
        description="path of a folder, or of one or more zip archives, for source mmwhs; null when urls are given",
    )
    urls: list[Archive] = Field([], description="archives to download for source mmwhs, each {url, sha256}")
    max_unpacked_gb: float = Field(
        60.0, gt=0, description="largest unpacked size of the archives, GB; larger ones are refused"
    )
    phantom: PhantomConfig = Field(
        PhantomConfig(seed=1, num_unlabelled=0, ct_spacing_mm=2.4, mr_spacing_mm=2.8, scanner="other"),
        description="the second phantom cohort",
    )

    @model_validator(mode="after")
    def _has_a_place(self) -> "TargetConfig":
        if self.source == "mmwhs" and not self.path and not self.urls:
            raise ValueError("source mmwhs needs a path or urls, got neither")
        if self.source != "mmwhs" and (self.path or self.urls):
            raise ValueError(
                f"path and urls have no effect with source {self.source}: set source to mmwhs, or path to null and "
                "urls to []"
            )
        return self

    def as_data(self) -> DataConfig:
        """The same as a section `data`, for the code that lays out a cohort.

        Raises:
            ValueError: the source is `unlabelled`, which is no cohort of its own.
        """
        if self.source == "unlabelled":
            raise ValueError("source must be phantom or mmwhs to be laid out, got unlabelled")
        return DataConfig(
            source=self.source,
            path=self.path,
            urls=self.urls,
            max_unpacked_gb=self.max_unpacked_gb,
            phantom=self.phantom,
        )


class AdaptSection(AdaptationConfig):
    """Section `adapt`."""

    target: TargetConfig = Field(TargetConfig(), description="the target domain of the scenario cohort")
