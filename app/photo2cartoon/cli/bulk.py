"""Bulk: draw every photo of a folder, on all cores; resumable, with a report of every failure."""

import csv
import io
import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from photo2cartoon.cli.folders import run_in_threads
from photo2cartoon.cli.terminal import shown
from photo2cartoon.ground.errors import InternalError, Problem
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.files import write_file, write_together

PARQUET = ".parquet"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one photo.

    Attributes:
        photo: its path below the source folder; bytes that are no UTF-8 are escaped.
        status: `done`, `skipped` (its cartoon was there already) or `failed`.
        code: the problem's code, as over HTTP, or `unreadable_file`, `unwritable_file` or
            `worker_lost`.
        detail: the problem in words.
        pictures: how many pictures were written.
        seconds: how long the photo took.
    """

    photo: str
    status: Literal["done", "skipped", "failed"]
    code: str = ""
    detail: str = ""
    pictures: int = 0
    seconds: float = 0.0


def plan_targets(photos: list[Path], source: Path, target: Path, suffix: str) -> dict[Path, Path]:
    """Choose the place of each photo's cartoon: the same subfolder, `NAME-cartoon.png`.

    Photos whose names differ in the suffix only keep it: `NAME.jpg-cartoon.png`.
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
    """One of several parts of a folder, so that several processes can share the work.

    Attributes:
        index: which part, counted from 0.
        count: how many parts there are.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `I/N`.

        Raises:
            ValueError: `text` is not two numbers, or I is not below N.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not match or int(match[1]) >= int(match[2]):
            raise ValueError("I/N, with I from 0 to N - 1")
        return cls(int(match[1]), int(match[2]))

    def has(self, photo: str) -> bool:
        """Tell whether `photo` (its path below the source) belongs to this part.

        The name alone decides: photos may come and go while other processes work.
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
    """Draw the photos of a folder; yields those that are skipped, then each outcome as it comes.

    Args:
        pipeline: the loaded pipeline.
        targets: each photo and the place of its cartoon; folders are made where they are missing.
        source: the folder below which photos are named.
        options: as for one photo.
        threads: how many photos are drawn at the same time.
        again: whether to draw photos again whose cartoon exists.
    """
    missing = []
    for photo, place in targets.items():
        if not again and (place.exists() or picture_places(place, 2)[0].exists()):
            yield Outcome(shown(photo.relative_to(source)), "skipped")
        else:
            missing.append(photo)

    def draw(photo: Path) -> Outcome:
        name = shown(photo.relative_to(source))
        write = partial(write_pictures, place=targets[photo])
        return draw_one(pipeline, name, photo.read_bytes, write, options)

    yield from run_in_threads(draw, missing, threads)


def draw_one(
    pipeline: Pipeline,
    name: str,
    read: Callable[[], bytes],
    write: Callable[[list[bytes]], object],
    options: Options,
) -> Outcome:
    """Draw one photo, wherever it is read from and written to; whatever happens is an outcome."""
    start = time.perf_counter()
    try:
        data = read()
    except OSError as error:
        return Outcome(name, "failed", "unreadable_file", error.strerror or "cannot be read")
    try:
        pictures = pipeline.cartoonize(data, options)
        write(pictures)
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

    The first one gets its name last: where it is, all are.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    places = picture_places(place, len(pictures))
    write_together(dict(zip(places, pictures, strict=True)))
    return places


def picture_places(place: Path, count: int) -> list[Path]:
    """Return where a photo's pictures go: `place`, or `NAME-1`, `NAME-2`, ... beside it."""
    if count == 1:
        return [place]
    names = (f"{place.stem}-{number}{place.suffix}" for number in range(1, count + 1))
    return [place.with_name(name) for name in names]


def write_report(outcomes: list[Outcome], path: Path) -> None:
    """Write the outcomes to a file, in the format that its suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, encode_report(outcomes, path.suffix.lower()))


def encode_report(outcomes: list[Outcome], suffix: str) -> bytes:
    """Return the outcomes in the order of their photos.

    Parquet for `.parquet`, which takes pyarrow, JSON for `.json`, else CSV; texts are UTF-8.
    """
    rows = [asdict(outcome) for outcome in sorted(outcomes, key=lambda outcome: outcome.photo)]
    if suffix == PARQUET:
        return _encode_parquet(rows)
    if suffix == ".json":
        return json.dumps(rows, indent=2, ensure_ascii=False).encode()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Outcome)])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _encode_parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow  # noqa: PLC0415 - of no extra: whoever wants Parquet has it
    import pyarrow.parquet  # noqa: PLC0415

    kinds = {"pictures": pyarrow.int64(), "seconds": pyarrow.float64()}
    columns = [(field.name, kinds.get(field.name, pyarrow.string())) for field in fields(Outcome)]
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, pyarrow.schema(columns)), stream)
    return stream.getvalue()
