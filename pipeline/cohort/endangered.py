"""Every path that the parameters name, looked at before DVC removes anything."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.cohort.guard import foreign_files, foreign_message, local_archive, refuse_outputs, tops
from pipeline.cohort.nnunet import is_nnunet, read_nnunet
from pipeline.cohort.places import existing_path
from pipeline.cohort.table_file import read_table_file
from pipeline.config.sections import Archive, DataConfig, TargetConfig
from pipeline.runtime.errors import DataError, UsageError


def path_problems(data: DataConfig, target: TargetConfig | None) -> list[str]:
    """List what is wrong with the places that sections `data` and `adapt.target` name, a line each.

    Only places that stages would delete, and files in data/raw that are nobody's but the user's: whether the data are
    there and sound is for the stages that read them.

    Args:
        data: section `data`.
        target: section `adapt.target`; None where the adaptation is off.
    """
    checks = list(_places("data", data.path, data.urls))
    if target is not None:
        checks += _places("adapt.target", target.path, target.urls)
    if data.source == "table" and isinstance(data.path, str):
        checks += _scans("data.path", data.path)
    found = []
    for key, path in checks:
        try:
            refuse_outputs(key, path)
        except UsageError as error:
            found.append(str(error))
    for top in tops():
        if names := foreign_files(top):
            found.append(foreign_message(names))
    return list(dict.fromkeys(found))


def _places(
    section: str, path: str | Sequence[str] | None, urls: Sequence[Archive]
) -> Iterator[tuple[str, Path]]:
    for text in [path] if isinstance(path, str) else path or []:
        try:
            yield f"{section}.path", existing_path(text, f"{section}.path")
        except UsageError as error:
            # Told again, with all others.
            yield f"{section}.path", _unchecked(text, error)
        except DataError:
            continue
    for archive in urls:
        if local := local_archive(archive.url):
            yield f"{section}.urls", local


def _unchecked(text: str, error: UsageError) -> Path:
    path = Path(text).expanduser()
    return next((top / path for top in tops() if (top / path).exists()), path)


def _scans(key: str, text: str) -> Iterator[tuple[str, Path]]:
    """Give the files that a table or an nnU-Net folder names, without opening them."""
    try:
        path = existing_path(text, key)
        if path.is_dir() and not is_nnunet(path):
            return
        table = read_nnunet(path) if path.is_dir() else read_table_file(path)
    except (DataError, UsageError, OSError):
        return
    for row in table.rows:
        for file in filter(None, (row.image, row.label)):
            yield f"{key} names {row.title}", file
