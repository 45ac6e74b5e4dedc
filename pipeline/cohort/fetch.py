"""Download archives with resume, progress and checksum."""

import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from crossmodalnet.errors import DataError, ResourceError
from crossmodalnet.io.console import is_terminal
from crossmodalnet.io.outputs import file_digest
from pipeline.cohort.guard import local_archive, refuse_outputs
from pipeline.config.sections import Archive
from pipeline.runtime.work import work_folder

logger = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
TIMEOUT_SECONDS = 60
RETRY_SECONDS = (1.0, 5.0, 20.0)
LOG_SECONDS = 10.0
FINAL_CODES = range(400, 500)
MAY_PASS_CODES = (408, 425, 429)


def fetch(archive: Archive, max_bytes: int, section: str) -> Path:
    """Download an archive to the work folder, unless it is there, and return its path.

    A partial download (`.part`) is resumed where the server supports HTTP ranges.

    DataError for a wrong checksum, or more than `max_bytes`; ResourceError if the network or the server fails.
    """
    wanted = archive.sha256.lower()
    if local := local_archive(archive.url):
        refuse_outputs(f"{section}.urls", local)
        if not local.is_file():
            raise DataError(f"{local} of {section}.urls does not exist")
        if (digest := file_digest(local)) != wanted:
            raise _wrong_checksum(archive, digest, section)
        return local
    name = re.sub(r"[^\w.-]", "_", Path(urlsplit(archive.url).path).name) or "archive.zip"
    done = work_folder("download", wanted[:16]) / name
    if done.is_file() and file_digest(done) == wanted:
        logger.info("%s: already downloaded", done)
        return done
    part = done.with_name(f"{name}.part")
    resumed = part.is_file() and part.stat().st_size > 0
    digest = _download(archive.url, part, max_bytes, section)
    if digest != wanted and resumed:
        # The partial file may be of an older version.
        logger.info("%s: the continued file has another checksum, downloading it anew", name)
        part.unlink()
        digest = _download(archive.url, part, max_bytes, section)
    if digest != wanted:
        part.unlink()
        raise _wrong_checksum(archive, digest, section)
    return part.replace(done)


def _wrong_checksum(archive: Archive, digest: str, section: str) -> DataError:
    return DataError(
        f"{_public(archive.url)} has the wrong checksum: sha256 {digest}, "
        f"{section}.urls says {archive.sha256.lower()}; correct the sha256 if the file is what you expect"
    )


def _public(url: str) -> str:
    """Remove user, password and query from an address: they may hold secrets."""
    address = urlsplit(url)
    return f"{address.scheme}://{address.hostname}{f':{address.port}' if address.port else ''}{address.path}"


def _download(url: str, part: Path, max_bytes: int, section: str) -> str:
    """Complete `part`, with retries, and return its SHA-256."""
    waits = iter(RETRY_SECONDS)
    while True:
        try:
            _continue(url, part, max_bytes, section)
            return file_digest(part)
        except (OSError, http.client.HTTPException) as error:
            code = getattr(error, "code", None)
            wait = next(waits, None)
            if wait is None or (code in FINAL_CODES and code not in MAY_PASS_CODES):
                raise ResourceError(
                    f"{_public(url)} cannot be downloaded ({error}): check the address and the network, "
                    "then run the stage again; it continues where it stopped"
                ) from error
            logger.info("%s: %s, trying again in %g s", _public(url), error, wait)
            time.sleep(wait)


def _continue(url: str, part: Path, max_bytes: int, section: str) -> None:
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "crossmodalnet", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        # Nothing after `start`; the checksum shows whether the file is complete.
        return
    with response:
        if response.status != 206:
            start = 0
        elif not (response.headers["Content-Range"] or "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise ConnectionError("the server sent another range than asked for")
        length = response.headers["Content-Length"]
        total = start + int(length) if length else None
        with part.open("ab" if start else "wb") as file:
            for chunk in _shown(iter(partial(response.read, CHUNK_BYTES), b""), part.stem, start, total):
                if file.tell() + len(chunk) > max_bytes:
                    raise DataError(f"{_public(url)} is larger than {section}.max_unpacked_gb = {max_bytes / 1e9:g} GB")
                file.write(chunk)
    if total is not None and (size := part.stat().st_size) < total:
        raise ConnectionError(f"the connection closed after {size} of {total} bytes")


def _shown(chunks: Iterator[bytes], name: str, start: int, total: int | None) -> Iterator[bytes]:
    """Show progress: a bar on a terminal, else a line every ten seconds."""
    if is_terminal():
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"), progress.BarColumn(), progress.DownloadColumn(),
            progress.TransferSpeedColumn(), progress.TimeRemainingColumn(),
        )  # fmt: skip
        with progress.Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(f"download {name}", total=total, completed=start)
            for chunk in chunks:
                yield chunk
                bar.advance(task, len(chunk))
        return
    of = f" of {total / 1e6:.1f}" if total else ""
    logger.info("download %s: from %.1f%s MB", name, start / 1e6, of)
    done, last = start, time.monotonic()
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if time.monotonic() - last > LOG_SECONDS:
            last = time.monotonic()
            logger.info("download %s: %.1f%s MB", name, done / 1e6, of)
    logger.info("download %s: %.1f%s MB", name, done / 1e6, of)
