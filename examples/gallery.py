"""Draw the gallery: people of all kinds in columns, the photo and every style in rows.

    python examples/gallery.py PHOTOS CREDITS.csv --style comic --style photo2cartoon-lite
        --only ann.jpg --only bob.jpg --out gallery.jpg

It writes one JPEG of at most 600 kB and, beside it, `gallery.txt` with the credit of every photo.
The credits come from a CSV file with the columns `file`, `licence`, `repo` and `path`. A photo
without a credit, or whose licence does not allow showing it, stops the command: whatever a README
shows is published.
"""

import csv
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.files import find_photos, write_together

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB

MAY_BE_SHOWN = ("mit", "cc0", "cc by 4.0", "public domain")  # how such a licence begins
TILE, GAP, LABEL = 232, 6, 26  # px: a picture, the space around it, the words above a row
LARGEST = 600_000  # bytes
PAPER, INK = (255, 255, 255), (60, 60, 60)


def main(
    folder: Annotated[Path, typer.Argument(metavar="PHOTOS", exists=True, file_okay=False)],
    credit: Annotated[Path, typer.Argument(metavar="CREDITS.csv", exists=True, dir_okay=False)],
    style: Annotated[list[str], typer.Option(help="The name of a style; one row each.")],
    out: Annotated[Path, typer.Option(help="The JPEG file to write.")],
    only: Annotated[list[str] | None, typer.Option(help="A photo, by its file's name.")] = None,
) -> None:
    """Draw the gallery of all photos in a folder, or of some of them in the order given."""
    found = {path.name: path for path in find_photos(folder)}
    names = only or list(found)
    if unknown := [name for name in names if name not in found]:
        raise typer.BadParameter(f"not in {folder}: {', '.join(unknown)}", param_hint="--only")
    credits_ = read_credits(credit, names)
    photos = [found[name].read_bytes() for name in names]
    pipeline = open_pipeline(Settings(generator=Path(style[0]), styles=tuple(map(Path, style[1:]))))
    rows = {"photo": [cut_photo(pipeline, photo) for photo in photos]}
    for name in style:
        options = Options(style=name)
        rows[name] = [pipeline.draw(photo, options, Ticket())[0] for photo in photos]
    notice = "\n".join(["Photos, from left to right:", "", *credits_, ""])
    picture = encode_within(lay_out(rows), LARGEST)
    write_together({out: picture, out.with_suffix(".txt"): notice.encode()})
    typer.echo(f"{out}, {len(picture) / 1000:.0f} kB; {out.with_suffix('.txt')}")


def read_credits(path: Path, names: list[str]) -> list[str]:
    """Return one line for each photo: its source and licence."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    lines = []
    for name in names:
        row = rows.get(name)
        if row is None or not row["licence"].lower().startswith(MAY_BE_SHOWN):
            reason = f"its licence is {row['licence']}" if row else "it has no credit"
            raise typer.BadParameter(f"{name} may not be shown: {reason}", param_hint="CREDITS.csv")
        lines.append(f"{name}: {row['repo']}, {row['path']}; {row['licence']}")
    return lines


def cut_photo(pipeline: Pipeline, photo: bytes) -> Pixels:
    """Return the square around the face, as it is drawn but upright and within the photo."""
    image, (cut,) = pipeline.cropper.crop(photo, Options(), Ticket())
    size = np.array(image.shape[1::-1])
    side = min(cut.alignment.side, *size.tolist())
    centre = cut.alignment.to_photo(1)[:, 2]  # a square of one pixel lies at its centre
    left, top = (centre - side / 2).round().astype(int).clip(0, size - side).tolist()
    return image[top : top + side, left : left + side]


def lay_out(rows: dict[str, list[Pixels]]) -> Pixels:
    """Lay out the rows one below the other, each under its name."""
    columns = max(len(pictures) for pictures in rows.values())
    width, height = columns * (TILE + GAP) + GAP, len(rows) * (LABEL + TILE) + GAP
    grid = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(16)
    for number, (label, pictures) in enumerate(rows.items()):
        top = number * (LABEL + TILE)
        draw.text((GAP, top + 4), label, INK, font)
        for column, picture in enumerate(pictures):
            tile = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS)
            grid.paste(tile, (GAP + column * (TILE + GAP), top + LABEL))
    return np.asarray(grid)


def encode_within(picture: Pixels, largest: int) -> bytes:
    """Return the JPEG of the best quality that has at most `largest` bytes."""
    for quality in range(92, 20, -4):
        content = encode_image(picture, "jpeg", quality)
        if len(content) <= largest:
            return content
    raise typer.BadParameter("the gallery is too large: choose fewer photos", param_hint="--only")


if __name__ == "__main__":
    typer.run(main)
