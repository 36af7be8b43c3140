"""Which files are photos, and how a file is written whole or not at all.

Serving, bulk, training data, training and evaluation share both: a photo that one of them finds,
every one of them reads. Standard library only.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

PHOTO_SUFFIXES = frozenset({
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".png", ".apng", ".webp"),
    *(".heic", ".heif", ".hif", ".avif", ".tif", ".tiff", ".gif", ".bmp", ".dib"),
})  # fmt: skip
APPLE_DOUBLE = "._"  # macOS keeps what other file systems cannot store in ._NAME beside NAME
PART = ".part"  # of a file that is still being written: never mistaken for a finished one


def find_photos(folder: Path, *, outside: Path | None = None) -> list[Path]:
    """Find the photos in `folder` and its subfolders, by their suffix, in a stable order.

    Args:
        folder: where to look; a folder that does not exist has no photos.
        outside: a folder whose content does not count, because it holds results; unless `folder`
            itself lies in it.
    """
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    results = outside.resolve() if outside else None
    if results in folder.resolve().parents:
        results = None
    return sorted(
        path
        for path in paths
        if not path.name.startswith(APPLE_DOUBLE)
        and path.is_file()
        and results not in path.resolve().parents
    )


@contextmanager
def write_whole(
    path: Path,
    mode: str = "wb",
    *,
    part: str = PART,
    sync: bool = False,
    newline: str | None = None,
) -> Iterator[IO[Any]]:
    """Open a stream that becomes the file at `path` when the block ends without an error.

    Until then a file that is already there stays as it is, and after an error nothing new is left.

    Args:
        path: the file.
        mode: `wb`, or `w` for text, which is UTF-8.
        part: suffix of the unfinished file; processes that may write `path` at the same time need
            a different one each.
        sync: whether the content must be on the disk before the file gets its name, so that it
            survives a power failure.
        newline: of text, as for `open`.

    Raises:
        OSError: the file cannot be written.
    """
    unfinished = path.with_name(path.name + part)
    try:
        encoding = None if "b" in mode else "utf-8"
        with unfinished.open(mode, encoding=encoding, newline=newline) as stream:
            yield stream
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files; none gets its name before the content of all is written.

    The files get their names in the reverse order: where the first is, all are.

    Raises:
        OSError: one of them cannot be written.
    """
    with ExitStack() as stack:
        for path, content in contents.items():
            stream = stack.enter_context(write_whole(path))
            stream.write(content)
            stream.flush()
