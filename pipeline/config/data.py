"""Parameters of the download stage: where the cohort comes from."""

from typing import Literal

from pydantic import Field, model_validator

from crossmodalnet.config import Config
from crossmodalnet.imaging.codes import own_codes

Abbreviation = Literal["LV", "RV", "LA", "RA", "Myo", "AO", "PA"]


class Archive(Config):
    """An archive to download."""

    url: str = Field(description="address of a zip archive", pattern=r"^(https?|file)://")
    sha256: str = Field(
        description="SHA-256 checksum of the archive, 64 hexadecimal digits", pattern=r"^[0-9a-fA-F]{64}$"
    )


class PhantomConfig(Config):
    """The embedded whole-heart phantom."""

    seed: int = Field(0, ge=0, description="seed from which every subject is drawn")
    num_labelled: int = Field(20, ge=3, le=999, description="labelled subjects per modality")
    num_unlabelled: int = Field(2, ge=0, le=999, description="unlabelled subjects per modality")
    ct_spacing_mm: float = Field(2.0, ge=0.4, le=6, description="CT in-plane spacing, mm")
    mr_spacing_mm: float = Field(2.2, ge=0.4, le=6, description="MR in-plane spacing, mm; slices are thicker")
    scanner: Literal["reference", "other"] = Field(
        "reference",
        description="the scanner and protocol; other: later CT contrast phase, T1-weighted MR with bright fat, "
        "more noise, thicker slices, smaller field of view",
    )
    same_patients: bool = Field(
        False,
        description="whether people are scanned in both modalities; true: CT and MR of one number are one person, and "
        "a pair; false: all are different people, as in MM-WHS",
    )


class DataConfig(Config):
    """Section `data`."""

    source: Literal["phantom", "mmwhs", "table"] = Field(
        "phantom",
        description="source of the cohort; phantom: made here, no download; mmwhs: the real data or "
        "anything laid out like it; table: data of your own, see docs/own_data.md",
    )
    path: str | list[str] | None = Field(
        None,
        description="path of a folder, or of one or more zip archives, for source mmwhs, null when urls are given; "
        "for source table that of a CSV, or of a folder laid out for nnU-Net",
    )
    labels: (
        Literal["auto", "mmwhs", "index", "totalsegmentator", "totalsegmentator_v1"]
        | dict[str, int | list[int]]
    ) = Field(
        "auto",
        description="meaning of the values in label maps of source table; auto: names in dataset.json of nnU-Net, "
        "else mmwhs; index: 1 to 7 for LV, RV, LA, RA, Myo, AO, PA; totalsegmentator: those of its task "
        "heartchambers_highres; totalsegmentator_v1: those of total in version 1; or values of your own by structure, "
        "{LV: 1, Myo: [2, 3], background: 9}",
    )
    missing: list[Abbreviation] = Field(
        [],
        description="structures that source table does not delineate, beside those that labels leaves out; read as "
        "background and not scored",
    )
    urls: list[Archive] = Field([], description="archives to download for source mmwhs, each {url, sha256}")
    max_unpacked_gb: float = Field(
        60.0, gt=0, description="largest unpacked size of the archives, GB; larger ones are refused"
    )
    phantom: PhantomConfig = Field(PhantomConfig(), description="the embedded whole-heart phantom")

    @model_validator(mode="after")
    def _has_a_meaning(self) -> "DataConfig":
        """Refuse labels that cannot be meant when they are read, and those of a source that would not look at them."""
        if isinstance(self.labels, dict):
            own_codes(self.labels)
        if self.source != "table" and (self.labels != "auto" or self.missing):
            raise ValueError(
                f"labels and missing are of source table, got source {self.source}: set source to table, or labels "
                "to auto and missing to []"
            )
        if self.source == "phantom" and (self.path or self.urls):
            raise ValueError(
                "path and urls have no effect with source phantom: set source to mmwhs or table, or path to null and "
                "urls to []"
            )
        if self.source == "table" and self.urls:
            raise ValueError("urls have no effect with source table: set path, and urls to []")
        return self
