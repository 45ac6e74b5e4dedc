"""Whether the download stage would find the data that the parameters name, and nothing of the user's is in danger."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from pipeline.cohort.endangered import path_problems
from pipeline.cohort.guard import local_archive
from pipeline.cohort.names import parse
from pipeline.cohort.nnunet import is_nnunet
from pipeline.cohort.places import existing_path
from pipeline.cohort.table_file import read_table_file
from pipeline.config.params import Params
from pipeline.config.sections import Archive
from pipeline.doctor_finding import DoctorFinding
from pipeline.runtime.errors import DataError, UsageError
from pipeline.runtime.paths import MANIFEST

MAX_ENTRIES = 20_000


def examine_data(top: Path, params: Params) -> Iterator[DoctorFinding]:
    """Look at the places that sections `data` and `adapt.target` name; images are not opened."""
    target = params.adapt.target if params.adapt.enabled else None
    for problem in path_problems(params.data, target):
        yield DoctorFinding(
            "data", False, problem, "move the files before any dvc command: DVC would delete them"
        )
    data = params.data
    if data.source == "phantom":
        yield DoctorFinding("data", True, "phantom: made here by the download stage")
    elif not data.path and data.source == "table":
        remedy = "set data.path to a table or an nnU-Net folder, see docs/own_data.md"
        yield DoctorFinding("data", False, "data.source is table, but data.path is not set", remedy)
    elif not data.path and not data.urls:
        remedy = "register at https://zmiclab.github.io/zxh/0/mmwhs/ and set data.path"
        yield DoctorFinding(
            "data", False, "data.source is mmwhs, but neither data.path nor data.urls is set", remedy
        )
    else:
        found = [*_places("data", data.source, data.path), *_archives("data", data.urls)]
        yield from found
        if not found:
            state = "downloaded" if (top / MANIFEST).exists() else "not downloaded yet: `dvc repro download`"
            yield DoctorFinding("data", True, f"{data.source}, {state}")
    if target is not None and target.source == "mmwhs":
        yield from _places("adapt.target", target.source, target.path)
        yield from _archives("adapt.target", target.urls)


def _places(section: str, source: str, path: str | list[str] | None) -> Iterator[DoctorFinding]:
    """Say what would stop the stage that reads the paths; nothing where it would find something there."""
    key = f"{section}.path"
    for text in [path] if isinstance(path, str) else path or []:
        try:
            found = existing_path(text, key)
        except UsageError:
            continue  # told with all that are in danger
        except DataError as error:
            missing = f"{key} not found: {text}" if "does not exist" in str(error) else str(error)
            yield DoctorFinding("data", False, missing, f"set {key} to where your data are")
            continue
        if problem := _of_table(found) if source == "table" else _of_folder(found):
            yield DoctorFinding(
                "data", False, f"{key} = {text}: {problem}", f"`crossmodalnet data check {text}` says more"
            )


def _archives(section: str, urls: Sequence[Archive]) -> Iterator[DoctorFinding]:
    for archive in urls:
        if (local := local_archive(archive.url)) and not local.exists():
            told = f"{section}.urls: {archive.url} does not exist"
            yield DoctorFinding("data", False, told, "correct the address")


def _of_table(path: Path) -> str | None:
    if path.is_dir():
        return None if is_nnunet(path) else "a folder without dataset.json and imagesTr"
    wrong = [finding for finding in read_table_file(path).findings if finding.severity == "error"]
    return f"{len(wrong)} error(s), the first: {wrong[0].case}: {wrong[0].what}" if wrong else None


def _of_folder(path: Path) -> str | None:
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        return "cannot be read by this user"
    if not path.is_dir():
        return None if path.suffix.lower() == ".zip" else "neither a folder nor a zip archive"
    files = (name for _, _, names in os.walk(path, followlinks=True) for name in names)
    seen = list(islice(files, MAX_ENTRIES))
    if len(seen) < MAX_ENTRIES and not any(parse(name) or name.lower().endswith(".zip") for name in seen):
        return "holds no file called like ct_train_1001_image.nii.gz, and no zip archive"
    return None
