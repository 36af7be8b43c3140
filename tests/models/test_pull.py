"""`models pull` against a host on this machine that breaks, lies and goes away."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from photo2cartoon_models.manifest import PublishedFile, load_published
from photo2cartoon_models.pull import ATTEMPTS, PullError, pull

CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Host:
    """A web host whose behaviour a test sets."""

    url: str = ""
    content: bytes = CONTENT
    content_type: str = "application/octet-stream"
    status: int = 0  # an error to answer instead
    ranges: bool = True
    tag: str = '"v1"'
    breaks: list[int] = field(default_factory=list)  # bytes after which each answer stops
    asked: list[str | None] = field(default_factory=list)  # the Range header of each request

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        if self.status:
            handler.send_error(self.status)
            return
        start = 0
        if wanted and self.ranges and handler.headers.get("If-Range") == self.tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.content):
            handler.send_error(416)
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Type", self.content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("ETag", self.tag)
        handler.end_headers()
        handler.wfile.write(body[: self.breaks.pop(0)] if self.breaks else body)
        handler.close_connection = True


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host.url = f"http://127.0.0.1:{server.server_port}/weights.pt"
    yield host
    server.shutdown()
    thread.join()
    server.server_close()


def entry(url: str, sha256: str | None = DIGEST) -> PublishedFile:
    return replace(
        load_published()["paddlegan"], name="it", file="weights.pt", url=url, sha256=sha256
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_transfer(host: Host, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    pulled = pull(entry(host.url), tmp_path / "new", lambda *now: seen.append(now))
    assert pulled.path.read_bytes() == CONTENT
    assert (pulled.sha256, pulled.verified) == (DIGEST, True)
    assert names(tmp_path / "new") == ["weights.pt"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(seen) == seen


def test_unverified_says_so(host: Host, tmp_path: Path) -> None:
    pulled = pull(entry(host.url, None), tmp_path)
    assert (pulled.sha256, pulled.verified) == (DIGEST, False)


def test_broken_transfer_is_taken_up(host: Host, tmp_path: Path) -> None:
    host.breaks = [300_000, 500_000]
    assert pull(entry(host.url), tmp_path).path.read_bytes() == CONTENT
    assert host.asked == [None, "bytes=300000-", "bytes=800000-"]


def test_giving_up_keeps_what_came(host: Host, tmp_path: Path) -> None:
    host.breaks = [100_000] * ATTEMPTS
    with pytest.raises(
        PullError, match=r"broke off after 300,000 bytes .*; pull again to continue"
    ):
        pull(entry(host.url), tmp_path)
    assert names(tmp_path) == ["weights.pt.part", "weights.pt.part.etag"]
    assert pull(entry(host.url), tmp_path).path.read_bytes() == CONTENT
    assert host.asked[-1] == "bytes=300000-"
    assert names(tmp_path) == ["weights.pt"]


def test_a_host_without_ranges_starts_again(host: Host, tmp_path: Path) -> None:
    host.breaks, host.ranges = [300_000], False
    assert pull(entry(host.url), tmp_path).path.read_bytes() == CONTENT


def test_another_version_is_not_glued_on(host: Host, tmp_path: Path) -> None:
    host.breaks = [300_000] * ATTEMPTS
    host.ranges = False
    with pytest.raises(PullError):
        pull(entry(host.url), tmp_path)
    host.content, host.tag, host.ranges = CONTENT[::-1], '"v2"', True
    assert pull(entry(host.url, None), tmp_path).path.read_bytes() == CONTENT[::-1]


def test_stopped_between_the_last_byte_and_the_name(host: Host, tmp_path: Path) -> None:
    (tmp_path / "weights.pt.part").write_bytes(CONTENT)
    (tmp_path / "weights.pt.part.etag").write_text(host.tag)
    assert pull(entry(host.url), tmp_path).path.read_bytes() == CONTENT
    assert host.asked == [f"bytes={len(CONTENT)}-", None]
    assert names(tmp_path) == ["weights.pt"]


def test_wrong_digest_is_deleted(host: Host, tmp_path: Path) -> None:
    with pytest.raises(PullError, match=f"has sha256 {DIGEST}, the manifest says 000"):
        pull(entry(host.url, "0" * 64), tmp_path)
    assert names(tmp_path) == []


def test_a_file_that_is_there_is_kept_or_named(host: Host, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(CONTENT)
    assert pull(entry(host.url), tmp_path).verified
    (tmp_path / "weights.pt").write_bytes(b"else")
    with pytest.raises(PullError, match="is another file"):
        pull(entry(host.url), tmp_path)
    assert host.asked == []


def test_no_network_says_what_to_do(host: Host, tmp_path: Path) -> None:
    unreachable = host.url.replace(host.url.rpartition(":")[2], "9/weights.pt")  # discard: closed
    with pytest.raises(PullError) as caught:
        pull(entry(unreachable), tmp_path)
    message = str(caught.value)
    assert "cannot reach 127.0.0.1" in message
    assert f"by hand and put it at {tmp_path / 'weights.pt'}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("status", "content_type", "message"),
    [
        (404, "application/octet-stream", "answered 404 Not Found; download it from https://"),
        (0, "text/html; charset=utf-8", "sent a web page; download it from https://"),
    ],
)
def test_a_host_that_has_something_else(
    host: Host, tmp_path: Path, status: int, content_type: str, message: str
) -> None:
    host.status, host.content_type = status, content_type
    with pytest.raises(PullError, match=message):
        pull(entry(host.url), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["http://example.org/w.pt", "file:///etc/passwd"])
def test_only_https(tmp_path: Path, url: str) -> None:
    with pytest.raises(PullError, match="not https"):
        pull(entry(url), tmp_path)


def test_published_entries_of_the_manifest() -> None:
    published = load_published()
    assert list(published) == ["minivision-pt", "minivision-onnx", "minivision-paddle", "paddlegan"]
    for file in published.values():
        assert file.url.startswith("https://")
        assert file.page.startswith("https://")
        assert file.sha256 is None
        assert [tensor.name for tensor in (*file.inputs, *file.outputs)] == ["input", "output"]
