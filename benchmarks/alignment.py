"""Our alignment beside upstream's formulas, on the same landmarks; and on pictures aligned before.

python -m benchmarks.alignment PHOTO_OR_FOLDER... [--aligned] [--left-half]

Plain: matrix, canvas, box and side must be equal; the crops' difference is printed in grey levels.
With --aligned: the pictures are aligned already; printed is how far eye line, centre and scale
would move, in px at 256.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import upstream
from benchmarks.stages import EXAMPLE, list_photos, read_photo
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.alignment import crop_face, estimate_alignment
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.detector import Face
from photo2cartoon.pipeline.opening import open_pipeline

SIZE = 256

Image = NDArray[np.uint8]


def main(
    sources: Annotated[list[Path] | None, typer.Argument()] = None,
    aligned: Annotated[bool, typer.Option(help="The pictures are aligned already.")] = False,
    left_half: Annotated[bool, typer.Option(help="Use the left half of each picture.")] = False,
) -> None:
    """Compare alignments over photos."""
    pipeline = open_pipeline(Settings())
    photos = list_photos(sources or [EXAMPLE])
    measure = drift if aligned else against_upstream
    rows = []
    for path in track(photos, "photos", transient=True):
        image = decode_image(read_photo(path, left_half), 10**8)
        if faces := pipeline.cropper.detector.detect(image):
            rows.append(measure(faces[0], image))
    table = Table("per photo", "mean", "sd", "mean of |.|", "p95 of |.|", "max of |.|")
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        size = np.abs(values)
        figures = (values.mean(), values.std(), size.mean(), np.percentile(size, 95), size.max())
        table.add_row(name, *(f"{figure:.3g}" for figure in figures))
    console = Console()
    console.print(f"{len(rows)} of {len(photos)} photos have a face")
    console.print(table)


def against_upstream(face: Face, image: Image) -> dict[str, float]:
    """Differences to upstream's values for one photo."""
    height, width = image.shape[:2]
    ours = estimate_alignment(face, (width, height))
    theirs = upstream.align(face.eyes, face.outline, width, height)
    crop = crop_face(image, ours, SIZE)
    inside = crop.inside > 0  # outside the photo upstream has white, we have the mirror image
    naive = upstream.crop(image, theirs, SIZE)
    levels = np.abs(crop.pixels.astype(int) - naive)[inside]
    boxes = np.abs(np.subtract(ours.box, theirs.box))
    return {
        "matrix, largest entry": float(np.abs(ours.matrix - theirs.matrix).max()),
        "canvas, px": float(np.abs(np.subtract(ours.canvas, theirs.canvas)).max()),
        "box, px": float(boxes.max()),
        "side, px": float(ours.side - theirs.side),
        "crop inside the photo, mean grey levels": float(levels.mean()),
        "crop inside the photo, p99 grey levels": float(np.percentile(levels, 99)),
    }


def drift(face: Face, image: Image) -> dict[str, float]:
    """How an aligned picture would move if it were aligned again."""
    side = image.shape[0]
    alignment = estimate_alignment(face, (image.shape[1], side))
    to_photo = alignment.to_photo(SIZE)
    centre = to_photo @ [(SIZE - 1) / 2, (SIZE - 1) / 2, 1] - (np.array(image.shape[1::-1]) - 1) / 2
    (left_x, left_y), (right_x, right_y) = face.eyes
    scale = SIZE / side
    return {
        "eye line, px between the eyes' heights": float(right_y - left_y) * scale,
        "eye line, degrees": float(np.degrees(np.arctan2(right_y - left_y, right_x - left_x))),
        "centre x, px": float(centre[0]) * scale,
        "centre y, px": float(centre[1]) * scale,
        "scale, % of the side": (alignment.side / side - 1) * 100,
        "eyes' middle x, px of the picture": float(face.eyes[:, 0].mean()) * scale,
        "eyes' middle y, px of the picture": float(face.eyes[:, 1].mean()) * scale,
        "box's middle x, px of the picture": float(face.box[[0, 2]].mean()) * scale,
    }


if __name__ == "__main__":
    typer.run(main)
