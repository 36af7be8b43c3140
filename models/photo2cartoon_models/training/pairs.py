"""Pairs for distillation: prepared photos and what the comic teacher makes of them, drawn once.

    OUT/train/512, OUT/test/512    what the student sees and what it shall draw, side by side, PNG
    OUT/train/256, OUT/test/256    the same at 256 px, drawn anew: lines as wide as they are there

Two thirds of the portraits are cut out, as serving feeds them, and drawn without the outline, which
serving adds. The others stay before their own background, so that the student draws places as well.
The light of the training photos is changed before the teacher sees them. All of it follows from the
photo's name, and what is there stays: a second call does what is missing.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon_models.cutout import UNITS, cut_out, firm
from photo2cartoon_models.teachers.comic import draw
from photo2cartoon_models.training.data import (
    DataError,
    find_pictures,
    portrait,
    read_faces,
    read_picture,
    resize,
)
from photo2cartoon_models.training.log import write_png

SIZES = (512, 256)  # px
PARTS = {"testA": "test", "trainA": "train"}  # the few first: a look tells if all is well
WHOLE = 0.33  # of the portraits keep their background
GRAY = 0.04  # of the training photos lose their colours

Image = NDArray[np.uint8]


def draw_pairs(data: Path, out: Path, *, limit: int | None, jobs: int) -> Iterator[Path]:
    """Draw the pairs that are missing.

    Args:
        data: what `photo2cartoon prepare-data --size 512` wrote.
        out: the folder for the pairs.
        limit: at most that many training photos, chosen by their names' digests; None for all.
        jobs: photos drawn at the same time, a core each.

    Yields:
        The path of each pair at the larger size, as it is done or found.

    Raises:
        DataError: there is no photo, or one of them cannot be read.
    """
    tasks: list[tuple[Path, str]] = []
    for folder, part in PARTS.items():
        photos = sorted(find_pictures(data / folder), key=lambda path: _digest(path.name))
        tasks += [(path, part) for path in photos[: limit if part == "train" else None]]
    cv2.setNumThreads(1)  # photos are drawn side by side; more threads would only compete
    with ThreadPoolExecutor(jobs) as pool:
        draw_one = partial(_one, data, read_faces(data), out)
        yield from pool.map(draw_one, *zip(*tasks, strict=True))


def _one(data: Path, faces: dict[str, dict[str, Any]], out: Path, photo: Path, part: str) -> Path:
    """Draw the pairs of one photo."""
    targets = [out / part / str(size) / f"{photo.stem}.png" for size in SIZES]
    if all(target.exists() for target in targets):
        return targets[0]
    rng = np.random.default_rng(int(_digest(photo.name), 16))
    square = portrait(SIZES[0], data)(photo)
    if min(read_picture(photo).shape[:2]) < SIZES[0]:
        raise DataError(f"{photo}: prepare the photos at {SIZES[0]} px")
    whole = rng.random() < WHOLE
    if part == "train":
        square[:, :, :3] = change_light(square[:, :, :3], rng)
    for size, target in zip(SIZES, targets, strict=True):
        colours, matte = np.split(resize(square, size), [3], axis=2)
        cover = matte[:, :, 0].astype(np.float32) / np.float32(255)
        colours = np.ascontiguousarray(colours)
        unit = size / UNITS
        seen = colours if whole else cut_out(colours, firm(cover, unit), unit)
        points = _scaled(faces.get(photo.relative_to(data).as_posix()), size)
        drawing = draw(colours, None if whole else cover, unit=unit, points=points, outlined=False)
        write_png(target, np.hstack((seen, drawing)))
    return targets[0]


def _scaled(face: dict[str, Any] | None, size: int) -> dict[str, list[list[float]]] | None:
    """The points of a face at `size` px."""
    if face is None:
        return None
    factor = size / face["size"]
    return {
        name: [[(x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5] for x, y in points]
        for name, points in face["points"].items()
    }


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def change_light(photo: Image, rng: np.random.Generator) -> Image:
    """Change exposure, the light's colour and saturation a little; some photos lose their colours.

    Args:
        photo: `(H, W, 3)` uint8 RGB.
        rng: where the amounts come from.

    Returns:
        The same.
    """
    exponent = np.exp(rng.uniform(-0.3, 0.4))
    cast = rng.uniform(0.92, 1.08, 3)
    saturation = 0.0 if rng.random() < GRAY else rng.uniform(0.7, 1.2)
    colours = (photo / 255) ** exponent * cast
    gray = colours.mean(axis=2, keepdims=True)
    changed = gray + (colours - gray) * saturation
    return np.asarray(changed.clip(0, 1) * 255 + 0.5, np.uint8)
