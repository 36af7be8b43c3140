"""Folders by URL, for `bulk`: object stores, web listings, tar files, and folders of this machine.

fsspec reads and writes them (the extra `objects`). Every worker opens its folders anew, by URL.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.implementations.local import LocalFileSystem

from photo2cartoon.cli.bulk import (
    Outcome,
    Shard,
    draw_one,
    picture_places,
    plan_targets,
    write_pictures,
)
from photo2cartoon.cli.folders import run_in_threads
from photo2cartoon.cli.terminal import shown
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.files import APPLE_DOUBLE, PHOTO_SUFFIXES, write_file

# Where a file is there whole or not at all: an object gets its name when its upload is complete.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"}


@dataclass(frozen=True)
class Folder:
    """A folder by its URL; a path without a scheme is one of this machine.

    Attributes:
        url: as fsspec takes it, chains included: `tar://::s3://bucket/shard-000.tar`.

    Raises:
        ValueError, ImportError: no such scheme, or its package is missing; the message says which.
    """

    url: str
    files: fsspec.AbstractFileSystem = field(init=False, repr=False, compare=False)
    root: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        files, root = fsspec.core.url_to_fs(self.url)
        object.__setattr__(self, "files", files)
        object.__setattr__(self, "root", root.rstrip("/"))

    def __reduce__(self) -> tuple[type["Folder"], tuple[str]]:
        """Travel to another process as the URL, or as a whole path: it may run elsewhere."""
        return Folder, (self.root if self.local else self.url,)

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return isinstance(self.files, LocalFileSystem)

    @property
    def writable(self) -> bool:
        """Whether files appear in it whole or not at all."""
        protocol = self.files.protocol
        return self.local or bool(OBJECT_STORES & {*_as_tuple(protocol)})

    def names(self) -> list[str]:
        """Return the paths of its files below it, sorted; a folder that is missing has none.

        A name that leads out of the folder, as a tar file or a listing may hold, is left out.

        Raises:
            OSError: it cannot be listed.
        """
        self.files.invalidate_cache()  # others write there too
        with _as_os_error():
            try:
                paths = self.files.find(self.root)
            except FileNotFoundError:
                return []
        names = (path.removeprefix(self.root).lstrip("/") for path in paths)
        return sorted(name for name in names if ".." not in PurePosixPath(name).parts)

    def photos(self, outside: "Folder") -> list[str]:
        """Return the names that are photos, by their suffix, but for those inside `outside`."""
        inner = ""
        if self.files is outside.files and outside.root.startswith(f"{self.root}/"):
            inner = outside.root.removeprefix(f"{self.root}/") + "/"
        return [
            name
            for name in self.names()
            if PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES
            and not PurePosixPath(name).name.startswith(APPLE_DOUBLE)
            and not (inner and name.startswith(inner))
        ]

    def has(self, place: str) -> bool:
        """Tell whether a photo's cartoon, or the first of several, is there."""
        first = picture_places(Path(place), 2)[0].as_posix()
        with _as_os_error():
            return any(self.files.exists(self.path(name)) for name in (place, first))

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            OSError: it cannot be read, for whatever reason the library has.
        """
        with _as_os_error():
            content: bytes = self.files.cat_file(self.path(name))
        return content

    def write(self, pictures: list[bytes], place: str) -> None:
        """Write one picture at `place` or several beside it, the first one last, each whole.

        Raises:
            OSError: they cannot be written.
        """
        if self.local:
            write_pictures(pictures, Path(self.path(place)))
            return
        places = picture_places(Path(place), len(pictures))
        with _as_os_error():
            for path, picture in reversed(list(zip(places, pictures, strict=True))):
                self.files.pipe_file(self.path(path.as_posix()), picture)

    def path(self, name: str) -> str:
        """Return a file's path as the file system takes it."""
        return f"{self.root}/{name}" if self.root else name


def _as_tuple(protocol: str | tuple[str, ...]) -> tuple[str, ...]:
    return (protocol,) if isinstance(protocol, str) else protocol


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn what a store's own library raises into an OSError with its words."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(None, f"{type(error).__name__}: {error}") from error


def write_url(url: str, content: bytes) -> None:
    """Write one file by its URL.

    Raises:
        OSError: it cannot be written.
    """
    files, path = fsspec.core.url_to_fs(url)
    with _as_os_error():
        if isinstance(files, LocalFileSystem):
            write_file(Path(path), content)
        else:
            files.pipe_file(path, content)


@dataclass(frozen=True)
class Work:
    """What there is to draw, from one folder into another.

    Attributes:
        source: where the photos are.
        target: where the cartoons go.
        places: by the photo's name, the name of its cartoon.
        options: as for one photo.
    """

    source: Folder
    target: Folder
    places: dict[str, str]
    options: Options

    @classmethod
    def plan(
        cls, source: Folder, target: Folder, options: Options, part: Shard, suffix: str
    ) -> "Work":
        """List the source; the names of the cartoons are those that a local folder has.

        Raises:
            OSError: the source cannot be listed.
            ValueError: it has no photo.
        """
        photos = [Path(name) for name in source.photos(outside=target)]
        if not photos:
            raise ValueError("there is no photo in this folder")
        targets = plan_targets(photos, Path(), Path(), suffix)
        places = {photo.as_posix(): place.as_posix() for photo, place in targets.items()}
        mine = {photo: place for photo, place in places.items() if part.has(photo)}
        return cls(source, target, mine, options)

    def missing(self) -> list[str]:
        """Return the photos whose cartoons are not in the target, by one listing of it.

        Raises:
            OSError: the target cannot be listed.
        """
        there = set(self.target.names())
        return [
            photo
            for photo, place in self.places.items()
            if not there & {place, picture_places(Path(place), 2)[0].as_posix()}
        ]


def draw_between(
    pipeline: Pipeline, source: Folder, target: Folder, photo: str, place: str, options: Options
) -> Outcome:
    """Read a photo from `source`, draw it, and write it to `place` in `target`."""
    read, write = partial(source.read, photo), partial(target.write, place=place)
    return draw_one(pipeline, shown(photo), read, write, options)


def skip(work: Work, missing: Iterable[str]) -> Generator[Outcome, None, None]:
    """Yield the outcomes of the photos that are drawn already."""
    for photo in work.places.keys() - set(missing):
        yield Outcome(shown(photo), "skipped")


def draw_here(
    pipeline: Pipeline, work: Work, *, threads: int, again: bool
) -> Generator[Outcome, None, None]:
    """Do `work` on threads of this process; yields every outcome as it comes, as `run_bulk`."""
    photos = list(work.places) if again else work.missing()
    yield from skip(work, photos)

    def draw(photo: str) -> Outcome:
        place = work.places[photo]
        return draw_between(pipeline, work.source, work.target, photo, place, work.options)

    yield from run_in_threads(draw, photos, threads)
