"""Training data from tar shards: `photo2cartoon prepare-data --shards` writes them.

Shards are how pictures travel; before the first step they become the folders that training reads.
So a run from shards takes the same steps as one from the folder they were made of, and continues
as exactly. The package `webdataset` streams and shuffles, which would give up both, for data that
is packed in memory anyway; its convention is what is kept.
"""

import itertools
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from lightning_fabric import Fabric

from photo2cartoon_models.files import write_file, write_whole
from photo2cartoon_models.training.config import TrainData
from photo2cartoon_models.training.data import FACES, NOT_OURS, DataError

UNPACKED = "unpacked.txt"  # the shards that lie in a folder already, a URL a line
PARTS = re.compile(r"(train|test)[ABP]")


def fetch_shards(data: TrainData, fabric: Fabric) -> None:
    """Unpack the shards that are not there yet beside `dataroot_a`, once on each machine.

    The first process is first: where machines share a folder, the others find all of it done.

    Raises:
        DataError: as `unpack`.
    """
    if data.shards:
        for turn in (fabric.is_global_zero, fabric.local_rank == 0 and not fabric.is_global_zero):
            if turn:
                unpack(data.shards, data.dataroot_a.parent)
            fabric.barrier()


def unpack(shards: list[str], folder: Path) -> None:
    """Write the pictures of shards into the folders of `prepare-data`.

    Args:
        shards: paths or URLs, as fsspec takes them, with `*` or ranges such as `{0000..0009}`.
        folder: where to; a shard that it has by its name is not read again.

    Raises:
        DataError: a shard is missing or is not ours, or `folder` cannot be written.
    """
    record = folder / UNPACKED
    done = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    for shard in itertools.chain.from_iterable(map(_expand, shards)):
        try:
            if shard.full_name not in done:
                _unpack_one(shard, folder)
                done.append(shard.full_name)
                write_file(record, "".join(f"{name}\n" for name in done).encode())
        except Exception as error:  # a store's own library raises anything
            why = f"{NOT_OURS}: {error!r}" if isinstance(error, _NOT_OURS) else repr(error)
            raise DataError(f"{shard.full_name}: {why}") from error


_NOT_OURS = (tarfile.TarError, ValueError, KeyError, TypeError)


def _expand(text: str) -> list[Any]:
    """Return fsspec's files for one path or URL; a range has as many digits as its first number."""
    if found := re.fullmatch(r"(.*?)\{(\d+)\.\.(\d+)\}(.*)", text):
        before, first, last, after = found.groups()
        numbers = range(int(first), int(last) + 1)
        parts = (_expand(f"{before}{number:0{len(first)}}{after}") for number in numbers)
        return list(itertools.chain.from_iterable(parts))
    try:
        files = list(fsspec.open_files(text, "rb"))
    except (ImportError, OSError, ValueError) as error:
        raise DataError(f"{text}: {error}") from error
    if not files:
        raise DataError(f"{text}: there is no such shard")
    return files


def _unpack_one(shard: Any, folder: Path) -> None:
    lines = {}
    with shard as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        for sample in _samples(tar):
            entry = json.loads(sample["json"])
            place = PurePosixPath(entry["picture"])
            if ".." in place.parts or not PARTS.fullmatch(place.parts[0]) or place.suffix != ".png":
                raise ValueError(f"a picture named {place}")
            for path, kind in ((folder / "crops" / place, "crop.png"), (folder / place, "png")):
                if kind in sample or kind == "png":
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_file(path, sample[kind])
            if "points" in entry:
                lines[entry["picture"]] = entry
    _add_faces(folder / FACES, lines)


def _samples(tar: tarfile.TarFile) -> Iterator[dict[str, bytes]]:
    """Yield the files of each sample, by what follows the first dot of their names."""

    def split(entry: tarfile.TarInfo) -> tuple[str, str]:
        place = PurePosixPath(entry.name)
        key, _, kind = place.name.partition(".")
        return f"{place.parent}/{key}", kind

    files = (entry for entry in tar if entry.isfile())
    for _, entries in itertools.groupby(files, lambda entry: split(entry)[0]):
        contents = ((split(entry)[1], tar.extractfile(entry)) for entry in entries)
        yield {kind: stream.read() for kind, stream in contents if stream}


def _add_faces(path: Path, lines: dict[str, dict[str, Any]]) -> None:
    texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    there = {json.loads(text)["picture"]: text for text in texts}
    there |= {name: json.dumps(entry) for name, entry in lines.items()}
    with write_whole(path, "w") as file:
        file.writelines(f"{there[name]}\n" for name in sorted(there))
