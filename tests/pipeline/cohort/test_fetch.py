import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError, ResourceError
from pipeline.cohort import fetch as module
from pipeline.cohort.fetch import fetch
from pipeline.config.sections import Archive

CONTENT = bytes(range(256)) * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LIMIT = 10**6


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at any path; the first answers break off after `drop_after` bytes."""

    knows_ranges = True

    def handle_error(self, *_: object) -> None: ...


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = start + self.server.drop_after.pop(0) if self.server.drop_after else len(CONTENT)
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.0, 0.0))
    with Server(("127.0.0.1", 0), Handler) as running:
        running.drop_after, running.asked = [], []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def archive(server: Server, path: str = "data.zip?token=secret", sha256: str = SHA256) -> Archive:
    return Archive(url=f"http://127.0.0.1:{server.server_port}/{path}", sha256=sha256)


def test_downloads_once(server: Server) -> None:
    path = fetch(archive(server), LIMIT, "data")
    assert path.name == "data.zip"
    assert path.read_bytes() == CONTENT
    assert fetch(archive(server, sha256=SHA256.upper()), LIMIT, "data") == path
    assert server.asked == [None]


def test_terminal_shows_a_bar(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "is_terminal", lambda: True)
    assert fetch(archive(server), LIMIT, "data").read_bytes() == CONTENT
    assert "download data.zip" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "knows_ranges", "asked"),
    [
        pytest.param(CONTENT[:1234], True, ["bytes=1234-"], id="resumed"),
        pytest.param(CONTENT, True, ["bytes=25600-"], id="complete"),
        pytest.param(b"x" * 1234, True, ["bytes=1234-", None], id="of another file: discarded"),
        pytest.param(b"x" * 1234, False, ["bytes=1234-"], id="server without ranges: restarted"),
    ],
)
def test_interrupted_download_is_completed(
    server: Server, tmp_path: Path, content: bytes, knows_ranges: bool, asked: list[str | None]
) -> None:
    server.knows_ranges = knows_ranges
    part = tmp_path / ".work" / "download" / SHA256[:16] / "data.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    assert fetch(archive(server), LIMIT, "data").read_bytes() == CONTENT
    assert server.asked == asked
    assert not part.exists()


def test_broken_connection_is_resumed(server: Server) -> None:
    server.drop_after = [1000, 500]
    assert fetch(archive(server), LIMIT, "data").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=1500-"]


def test_wrong_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"sha256 {SHA256}, data.urls says {'0' * 64}") as caught:
        fetch(archive(server, sha256="0" * 64), LIMIT, "data")
    assert "secret" not in str(caught.value)
    assert [path for path in (tmp_path / ".work").rglob("*") if path.is_file()] == []


def test_failed_download_keeps_the_part(server: Server, tmp_path: Path) -> None:
    server.drop_after = [10, 10, 10]
    with pytest.raises(ResourceError, match="closed after 30 of 25600 bytes"):
        fetch(archive(server), LIMIT, "data")
    assert fetch(archive(server), LIMIT, "data").read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=30-"


def test_http_404_is_not_retried(server: Server) -> None:
    with pytest.raises(ResourceError, match="404"):
        fetch(archive(server, "missing.zip"), LIMIT, "data")
    assert len(server.asked) == 1


def test_too_large_file_is_refused(server: Server) -> None:
    with pytest.raises(DataError, match="max_unpacked_gb"):
        fetch(archive(server), 1000, "data")


def test_local_file_is_verified_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a b.zip"
    path.write_bytes(CONTENT)
    assert fetch(Archive(url=path.as_uri(), sha256=SHA256), LIMIT, "data") == path
    with pytest.raises(DataError, match="wrong checksum"):
        fetch(Archive(url=path.as_uri(), sha256="1" * 64), LIMIT, "data")
    with pytest.raises(DataError, match="does not exist"):
        fetch(Archive(url="file:///no/such.zip", sha256=SHA256), LIMIT, "data")
