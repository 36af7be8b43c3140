"""Prepared pictures as WebDataset shards: tar files whose entries come sample by sample.

    OUT/shards/0000.tar     trainA/0000000.json      the picture's name, and its line of faces.jsonl
                            trainA/0000000.png       the picture
                            trainA/0000000.crop.png  its crop, where it has one
                            testB/0000007.json       ...

Samples have numbers, because WebDataset ends a sample's name at its first dot. The same pictures
give the same bytes. `photo2cartoon_models.training.shards` reads them.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from photo2cartoon.cli.prepare import FACES
from photo2cartoon_models.files import find_photos, write_whole

FOLDER = "shards"
PARTS = tuple(f"{part}{kind}" for part in ("train", "test") for kind in "ABP")


def write_shards(out: Path, count: int) -> list[Path]:
    """Write all that `prepare-data` has prepared in `out` as shards of nearly equal counts.

    Args:
        out: the folder of the pictures.
        count: how many shards, if there are as many pictures; others from before are removed.

    Returns:
        The shards.

    Raises:
        OSError: a picture cannot be read, or a shard cannot be written.
    """
    pictures = [path for part in PARTS for path in find_photos(out / part)]
    lines = _read_lines(out / FACES)
    paths = []
    for place in range(min(count, len(pictures))):
        path = out / FOLDER / f"{place:04}.tar"
        path.parent.mkdir(exist_ok=True)
        with write_whole(path) as file, closing(tarfile.open(fileobj=file, mode="w")) as tar:
            for number in range(place, len(pictures), count):
                for name, content in _sample(out, pictures[number], number, lines):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
        paths.append(path)
    for old in set((out / FOLDER).glob("*.tar")) - set(paths):
        old.unlink()
    return paths


def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    entries = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {entry["picture"]: entry for entry in entries}


def _sample(
    out: Path, picture: Path, number: int, lines: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, bytes]]:
    """Yield the entries of one picture."""
    name = picture.relative_to(out).as_posix()
    key = f"{name.partition('/')[0]}/{number:07}"
    yield f"{key}.json", json.dumps(lines.get(name, {"picture": name})).encode()
    yield f"{key}.png", picture.read_bytes()
    crop = out / "crops" / name
    if crop.exists():
        yield f"{key}.crop.png", crop.read_bytes()
