"""Download a published weights file: resumable, checked, and never trusted.

A download goes to FILE.part and becomes FILE when it is whole and, where the manifest knows the
sha256, when that fits. A transfer that breaks off is resumed where it stopped, as long as the
host still offers the same version (its ETag). Nothing is unpacked or loaded here. pooch would serve
for this if it could resume: it starts an interrupted download again from the first byte.
"""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from photo2cartoon_models.manifest import PublishedFile

CHUNK = 1 << 18  # bytes between two looks at the progress bar
TIMEOUT = 30.0  # seconds without a single byte
ATTEMPTS = 3  # requests for one file before a transfer that breaks off is given up

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all if the host says so


class PullError(Exception):
    """The file cannot be had; the message says why and what to do."""


class _Broken(Exception):
    """The transfer stopped halfway; what came is kept."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """A file that is there now. `verified` is False where the manifest knows no sha256."""

    path: Path
    sha256: str
    verified: bool


def pull(entry: PublishedFile, folder: Path, progress: Progress = lambda *_: None) -> Pulled:
    """Make sure that the file of `entry` lies in `folder`; a right one that is there is kept.

    Raises:
        PullError: no network, the host refuses, the transfer breaks off ATTEMPTS times, or what
            came has another sha256 than the manifest says (it is deleted then).
    """
    target = folder / entry.file
    if target.exists():
        return _checked(entry, target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{entry.file}.part"
        _download(entry, part, progress)
        digest = _sha256(part)
        if entry.sha256 is not None and digest != entry.sha256:
            part.unlink()
            raise PullError(
                f"{entry.name}: what {_host(entry)} sent has sha256 {digest}, the manifest says "
                f"{entry.sha256}; it was deleted"
            )
        part.replace(target)
    except OSError as error:
        raise PullError(f"{entry.name}: cannot write to {folder}: {error.strerror}") from error
    return Pulled(target, digest, entry.sha256 is not None)


def _checked(entry: PublishedFile, target: Path) -> Pulled:
    digest = _sha256(target)
    if entry.sha256 is not None and digest != entry.sha256:
        raise PullError(
            f"{entry.name}: {target} is another file (sha256 {digest}, the manifest says "
            f"{entry.sha256}); move it away and pull again"
        )
    return Pulled(target, digest, entry.sha256 is not None)


def _download(entry: PublishedFile, part: Path, progress: Progress) -> None:
    """Fill `part`, over several requests if need be."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _request(entry, part, progress)
            return
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.exists():
                part.unlink()  # all of it had come, or more: start again
                continue
            raise PullError(
                f"{entry.name}: {_host(entry)} answered {error.code} {error.reason}; "
                f"{_by_hand(entry, part)}"
            ) from error
        except urllib.error.URLError as error:
            raise PullError(
                f"{entry.name}: cannot reach {_host(entry)} ({error.reason}); "
                f"{_by_hand(entry, part)}"
            ) from error
        except (_Broken, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            if attempt == ATTEMPTS:
                size = part.stat().st_size if part.exists() else 0
                raise PullError(
                    f"{entry.name}: the transfer broke off after {size:,} bytes ({error}); "
                    "pull again to continue from there"
                ) from error


def _request(entry: PublishedFile, part: Path, progress: Progress) -> None:
    """One request for what is missing of `part`."""
    tag_file = part.with_name(part.name + ".etag")
    request = urllib.request.Request(_safe_url(entry), headers={"User-Agent": "photo2cartoon"})  # noqa: S310 - checked
    start = part.stat().st_size if part.exists() and tag_file.exists() else 0
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", tag_file.read_text())  # another version is sent whole
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310 - checked
        if response.headers.get_content_type() == "text/html":
            raise PullError(
                f"{entry.name}: {_host(entry)} sent a web page; {_by_hand(entry, part)}"
            )
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if not resumed:
            start = 0
        tag_file.unlink(missing_ok=True)
        if tag := response.headers.get("ETag", ""):
            tag_file.write_text(tag)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        done = start
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done != total:
        raise _Broken(f"{total - done:,} bytes are missing")
    tag_file.unlink(missing_ok=True)


def _safe_url(entry: PublishedFile) -> str:
    """The address, if it is https; plain http only to this machine itself."""
    parts = urlsplit(entry.url)
    if parts.scheme != "https" and (parts.scheme, parts.hostname) != ("http", "127.0.0.1"):
        raise PullError(f"{entry.name}: refused to fetch {entry.url}: not https")
    return entry.url


def _host(entry: PublishedFile) -> str:
    return urlsplit(entry.url).hostname or entry.url


def _by_hand(entry: PublishedFile, part: Path) -> str:
    return f"download it from {entry.page} by hand and put it at {part.with_suffix('')}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
