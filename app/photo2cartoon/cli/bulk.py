"""Bulk: every photo of a folder, on all cores, resumable, with a report of what failed and why."""

import csv
import json
import os
import re
import time
import zlib
from collections import Counter
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, Self

from photo2cartoon.ground.errors import InternalError, Problem
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.pipeline import Pipeline

PHOTO_SUFFIXES = {
    *(".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif"),
    *(".tif", ".tiff", ".gif", ".bmp"),
}
PART = ".part"  # of a file that is still being written: never mistaken for a finished one


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one photo.

    Attributes:
        photo: its path below the source folder.
        status: `done`, `skipped` (its cartoon was there already) or `failed`.
        code: of the problem, as over HTTP; `unreadable_file` or `unwritable_file` of the disk.
        detail: the problem in words.
        pictures: how many were written.
        seconds: how long it took.
    """

    photo: str
    status: Literal["done", "skipped", "failed"]
    code: str = ""
    detail: str = ""
    pictures: int = 0
    seconds: float = 0.0


def find_photos(source: Path, target: Path) -> list[Path]:
    """Photos in `source` and its subfolders, by their suffix, in a stable order.

    What lies in `target` is no photo: it holds the cartoons of an earlier run.
    """
    paths = (path for path in source.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    own = target.resolve()
    return sorted(path for path in paths if path.is_file() and own not in path.resolve().parents)


def plan_targets(photos: list[Path], source: Path, target: Path, suffix: str) -> dict[Path, Path]:
    """Say where each photo's cartoon goes: the same subfolder, `NAME-cartoon.png`.

    Two photos that differ in their suffix only keep it: `NAME.jpg-cartoon.png`.
    """
    stems = Counter(photo.with_suffix("") for photo in photos)
    targets = {}
    for photo in photos:
        stem = photo.stem if stems[photo.with_suffix("")] == 1 else photo.name
        folder = target / photo.parent.relative_to(source)
        targets[photo] = folder / f"{stem}-cartoon{suffix}"
    return targets


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of a folder, for as many processes.

    Attributes:
        index: which one, from 0.
        count: how many there are.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `I/N`.

        Raises:
            ValueError: not two numbers, or I is not below N.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not match or int(match[1]) >= int(match[2]):
            raise ValueError("I/N, with I from 0 to N - 1")
        return cls(int(match[1]), int(match[2]))

    def has(self, photo: str) -> bool:
        """Say whether `photo` (its path below the source) is of this part.

        Its name alone decides: photos may come and go while other parts are worked on.
        """
        return zlib.crc32(photo.encode(errors="surrogateescape")) % self.count == self.index


def run_bulk(
    pipeline: Pipeline,
    targets: dict[Path, Path],
    source: Path,
    options: Options,
    *,
    threads: int,
    again: bool,
) -> Generator[Outcome, None, None]:
    """Work through a folder; yields each outcome as it comes, in any order.

    Args:
        pipeline: the loaded pipeline.
        targets: each photo and the place of its cartoon; folders are made where they are missing.
        source: the folder that photos are named from.
        options: as for one photo.
        threads: photos worked on at the same time.
        again: draw also what is there already.
    """
    pending: set[Future[Outcome]] = set()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for photo, place in targets.items():
                name = str(photo.relative_to(source))
                if not again and (place.exists() or _numbered(place, 1).exists()):
                    yield Outcome(name, "skipped")
                    continue
                pending.add(pool.submit(_draw_one, pipeline, photo, place, name, options))
                if len(pending) >= 2 * threads:  # a bounded queue: photos are read when needed
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:  # also when the caller stops: what has not begun never does
            for future in pending:
                future.cancel()


def _draw_one(pipeline: Pipeline, photo: Path, place: Path, name: str, options: Options) -> Outcome:
    start = time.perf_counter()
    try:
        data = photo.read_bytes()
    except OSError as error:
        return Outcome(name, "failed", "unreadable_file", error.strerror or "cannot be read")
    try:
        pictures = pipeline.cartoonize(data, options)
        write_pictures(pictures, place)
    except Problem as problem:
        code, detail = problem.code, problem.detail
    except OSError as error:
        code, detail = "unwritable_file", error.strerror or "cannot be written"
    except Exception as error:  # noqa: BLE001 - a bug must not cost the other photos
        code, detail = InternalError.code, type(error).__name__
    else:
        took = round(time.perf_counter() - start, 3)
        return Outcome(name, "done", pictures=len(pictures), seconds=took)
    return Outcome(name, "failed", code, detail, seconds=round(time.perf_counter() - start, 3))


def write_pictures(pictures: list[bytes], place: Path) -> list[Path]:
    """Write one picture at `place`, or several beside it as `NAME-1`, `NAME-2`; each whole or not.

    The first comes last: where it is, all are.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    places = [place]
    if len(pictures) > 1:
        places = [_numbered(place, number) for number in range(1, len(pictures) + 1)]
    for path, picture in reversed(list(zip(places, pictures, strict=True))):
        part = path.with_name(path.name + PART)
        part.write_bytes(picture)
        part.replace(path)
    return places


def _numbered(place: Path, number: int) -> Path:
    return place.with_name(f"{place.stem}-{number}{place.suffix}")


def write_report(outcomes: list[Outcome], path: Path) -> None:
    """Write outcomes by photo, as JSON where `path` ends so, else as CSV."""
    rows = [asdict(outcome) for outcome in sorted(outcomes, key=lambda outcome: outcome.photo)]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PART)
    with part.open("w", newline="", encoding="utf-8") as file:
        if path.suffix.lower() == ".json":
            json.dump(rows, file, indent=2, ensure_ascii=False)
        else:
            writer = csv.DictWriter(file, [field.name for field in fields(Outcome)])
            writer.writeheader()
            writer.writerows(rows)
    os.replace(part, path)
