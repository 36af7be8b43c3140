"""The contact sheet: photos beside their cartoons, by group, to be looked at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from photo2cartoon_models.evaluation.pictures import Image, Photo

TILE = 160  # px
COLUMNS = 12  # tiles
LABEL = 24  # px, above each row
GAP = 4  # px, beside each photo with its cartoons
ALL = "photos"
OTHERS = "no group"
PAIRS = "pairs: photo, this model, their own cartoon"
FURTHEST = "furthest from their photos"


def write_sheet(
    path: Path, photos: list[Photo], pairs: list[Photo], distances: Sequence[float] | None
) -> None:
    """Draw the sheet, PNG.

    Args:
        path: where to.
        photos: each group becomes a row, of photos spread evenly over the group.
        pairs: the last row, with the cartoon that the pair came with as third.
        distances: identity distance of each photo and its cartoon; the worst make a row of their
            own.
    """
    rows = _rows(photos, distances)
    if pairs:
        rows.append((PAIRS, _spread(pairs, COLUMNS // 3)))
    height = TILE + LABEL
    sheet = Pillow.new("RGB", (COLUMNS * TILE + (COLUMNS // 2) * GAP, len(rows) * height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(16)
    for number, (label, chosen) in enumerate(rows):
        top, left = number * height, 0
        draw.text((4, top + 3), label, "black", font)
        for photo in chosen:
            for tile in _tiles(photo):
                small = Pillow.fromarray(tile).resize((TILE, TILE), Pillow.Resampling.BICUBIC)
                sheet.paste(small, (left, top + LABEL))
                left += TILE
            left += GAP
    sheet.save(path)


def _rows(photos: list[Photo], distances: Sequence[float] | None) -> list[tuple[str, list[Photo]]]:
    rows = []
    known = any(photo.group for photo in photos)
    for group in sorted({photo.group for photo in photos}, key=lambda name: (not name, name)):
        label = group or (OTHERS if known else ALL)
        members = [index for index, photo in enumerate(photos) if photo.group == group]
        words = f"{label}: {len(members)}"
        if distances is not None:
            words += f", identity distance {np.mean([distances[i] for i in members]):.2f}"
        rows.append((words, _spread([photos[i] for i in members], COLUMNS // 2)))
    if distances is not None:
        worst = np.argsort(distances)[::-1][: COLUMNS // 2]
        rows.append((FURTHEST, [photos[i] for i in worst]))
    return rows


def _spread(photos: list[Photo], count: int) -> list[Photo]:
    """At most `count` of them, evenly from first to last."""
    places = np.linspace(0, len(photos) - 1, min(count, len(photos)))
    return [photos[round(place)] for place in places]


def _tiles(photo: Photo) -> list[Image]:
    tiles = [photo.read_photo(), photo.read_cartoon()]
    return [*tiles, photo.read_original()] if photo.pair else tiles
