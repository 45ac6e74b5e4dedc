"""Parameters of the download stage: where the cohort comes from."""

from typing import Literal

from pydantic import Field

from pipeline.common.params import Section


class Archive(Section):
    """An archive to download."""

    url: str = Field(description="address of a zip archive", pattern=r"^(https?|file)://")
    sha256: str = Field(
        description="SHA-256 checksum of the archive, 64 hexadecimal digits", pattern=r"^[0-9a-fA-F]{64}$"
    )


class PhantomParams(Section):
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


class DataParams(Section):
    """Section `data`."""

    source: Literal["phantom", "mmwhs"] = Field(
        "phantom",
        description="source of the cohort; phantom: made here, no download; mmwhs: the real data or "
        "anything laid out like it",
    )
    path: str | list[str] | None = Field(
        None,
        description="path of a folder, or of one or more zip archives, for source mmwhs; null when urls are given",
    )
    urls: list[Archive] = Field([], description="archives to download for source mmwhs, each {url, sha256}")
    max_unpacked_gb: float = Field(
        60.0, gt=0, description="largest unpacked size of the archives, GB; larger ones are refused"
    )
    phantom: PhantomParams = Field(PhantomParams(), description="the embedded whole-heart phantom")
