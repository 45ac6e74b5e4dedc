"""Headers that name another file for the voxels (MetaImage .mhd, NRRD .nhdr): it may only be one beside them."""

import re
from pathlib import Path

# A header is a few hundred bytes; what follows it in the same file is voxels.
HEADER_BYTES = 2**16
_NAMES_ANOTHER = re.compile(
    rb"^\s*(?:data ?file\s*:|ElementDataFile\s*=)[ \t]*(?P<name>[^\r\n]*)", re.I | re.M
)


def companion(path: Path) -> Path | None:
    """Give the file that the header at `path` names for its voxels; None where it holds them itself.

    Raises:
        ValueError: it names several files, a pattern, a file in another folder, a link that leads to one, or a file
            that is not there: whoever wrote the header could have any file read.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if head.startswith(b"NRRD"):
        # The header ends at the first empty line; voxels may look like anything.
        head = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    match = _NAMES_ANOTHER.search(head)
    if match is None:
        return None
    name = match["name"].decode("utf-8", "replace").strip()
    if name.upper() == "LOCAL":
        return None
    if name.upper().startswith("LIST") or "%" in name:
        raise ValueError(f"header names several files for its voxels ({name!r}): save it as one file")
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"header names voxels in another folder ({name!r}): save it as one file")
    found = path.with_name(name)
    if not found.is_file():
        raise ValueError(f"header names {name!r} for its voxels, which is not beside it")
    if found.resolve().parent != path.resolve().parent:
        raise ValueError(f"header names {name!r} for its voxels, a link to another folder")
    return found
