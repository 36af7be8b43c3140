"""Whether cut and covered faces are found the right way up or not at all; whole ones always.

python -m benchmarks.turned PHOTOS [--photos 120] [--whole 600] [--eyes FILE.npz] [--sheet FOLDER]

Photos with one face each are cropped to a share of the face's landmark box, have the face covered
from below the eyes by a black mask, or are turned. A find is wrong if its eye line is off by more
than 25 degrees, or its eyes' middle by more than a third of their distance.

Before that, photos as they are: --eyes keeps the eyes found in them; a later run with the same file
prints how many differ by the same measure, so that two versions can be compared.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.detection import Image, read, roll_error
from benchmarks.stages import list_photos
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.faces.detector import Face, FaceDetector
from photo2cartoon.pipeline.opening import open_pipeline

SHARES = (0.85, 0.7, 0.55)  # of the landmark box
ENLARGED = 1600  # px of the long side: so large that the detector looks at tiles too
MASK_BELOW = (0.2, 0.35)  # of the way from the eyes to the chin: black from there on
LEVEL = 25.0  # degrees
APART = 1 / 3  # of the distance between the outer eye corners

Points = NDArray[np.float64]
Change = Callable[[Image, Face], tuple[Image, Points]]


def main(
    source: Annotated[Path, typer.Argument(help="Folder of photos with one face each.")],
    photos: Annotated[int, typer.Option(help="How many to change.")] = 120,
    whole: Annotated[int, typer.Option(help="How many to look at unchanged.")] = 600,
    eyes: Annotated[Path | None, typer.Option(help="Keep, or compare with, eyes found.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write wrong finds to this folder.")] = None,
) -> None:
    """Print how many are found, and how many of these are wrong."""
    detector = open_pipeline(Settings()).cropper.detector
    console = Console()
    console.print(look_at_whole(detector, source, whole, eyes))
    known = read(detector, source, photos)
    table = Table("faces", "photos", "found", "of these wrong")
    for name, change in changes().items():
        found = wrong = 0
        for number, (image, face) in enumerate(track(known, name, transient=True)):
            changed, expected = change(image, face)
            faces = detector.detect(changed)
            found += bool(faces)
            if faces and is_wrong(faces[0].eyes, expected):
                wrong += 1
                if sheet:
                    shown = mark(changed, faces[0])
                    (sheet / f"{name}-{number}.png").write_bytes(encode_image(shown, "png"))
        table.add_row(name, str(len(known)), str(found), str(wrong))
    console.print(table)


def look_at_whole(detector: FaceDetector, source: Path, count: int, kept: Path | None) -> str:
    """Say in how many of `count` photos a face is found, and whether it is the one of before."""
    paths = list_photos([source])
    paths = paths[:: max(1, len(paths) // max(1, count))][:count]
    found: dict[str, Points] = {}
    for path in track(paths, "whole photos", transient=True):
        faces = detector.detect(decode_image(path.read_bytes(), 10**8))
        if faces:
            found[path.name] = faces[0].eyes
    said = f"{len(found)} of {len(paths)} whole photos found"
    if kept is None:
        return said
    if not kept.exists():
        np.savez(kept, allow_pickle=False, **found)
        return said
    with np.load(kept) as before:
        lost = [name for name in before.files if name not in found]
        other = [name for name in found if name in before and is_wrong(found[name], before[name])]
        gained = [name for name in found if name not in before]
    return f"{said}; of those before, lost {lost}, elsewhere {other}; gained {gained}"


def changes() -> dict[str, Change]:
    """What is done to the photos, by name."""
    return {
        **{f"cropped to {share}": partial(crop, share=share) for share in SHARES},
        "cropped to 0.7, large": partial(crop, share=0.7, long_side=ENLARGED),
        **{f"black below {below}": partial(cover, below=below) for below in MASK_BELOW},
        **{f"whole, turned by {90 * turn}": partial(rotate, turn=turn) for turn in range(4)},
    }


def crop(
    image: Image, face: Face, share: float, long_side: int | None = None
) -> tuple[Image, Points]:
    """Cut out the middle of the landmark box; return it, and where the eyes are in it."""
    centre, half = (face.box[:2] + face.box[2:]) / 2, (face.box[2:] - face.box[:2]) / 2 * share
    left, top = np.maximum(np.round(centre - half), 0).astype(int)
    right, bottom = np.round(centre + half).astype(int)
    cut, eyes = np.ascontiguousarray(image[top:bottom, left:right]), face.eyes - [left, top]
    if long_side is None:
        return cut, eyes
    scale = long_side / max(cut.shape[:2])
    return cv2.resize(cut, None, fx=scale, fy=scale).astype(np.uint8, copy=False), eyes * scale


def cover(image: Image, face: Face, below: float) -> tuple[Image, Points]:
    """Paint the outline black from a share of the way between eyes and chin on."""
    x, y = face.eyes[1] - face.eyes[0]
    heights = (face.outline - face.eyes.mean(axis=0)) @ np.array([-y, x])
    covered = image.copy()
    lower = face.outline[heights > below * heights.max()]
    cv2.fillConvexPoly(covered, cv2.convexHull(lower.round().astype(np.int32)), (10.0, 10.0, 10.0))
    return covered, face.eyes


def rotate(image: Image, face: Face, turn: int) -> tuple[Image, Points]:
    """Turn by quarter turns, counter-clockwise."""
    eyes = face.eyes
    for step in range(turn):
        width = image.shape[1 - step % 2]
        eyes = np.stack([eyes[:, 1], width - 1 - eyes[:, 0]], axis=-1)
    return np.ascontiguousarray(np.rot90(image, turn)), eyes


def is_wrong(eyes: Points, truth: Points) -> bool:
    """Whether eyes found are turned or elsewhere."""
    apart = np.linalg.norm(eyes.mean(axis=0) - truth.mean(axis=0))
    distance = np.linalg.norm(truth[1] - truth[0])
    return bool(abs(roll_error(eyes, truth, 0)) > LEVEL or apart > APART * distance)


def mark(image: Image, face: Face) -> Image:
    """Draw the eyes found: the left one in the image green, the other one red."""
    marked = image.copy()
    for eye, colour in zip(face.eyes, ((0.0, 255.0, 0.0), (255.0, 0.0, 0.0)), strict=True):
        cv2.circle(marked, tuple(int(x) for x in eye.round()), 4, colour, -1)
    return marked


if __name__ == "__main__":
    typer.run(main)
