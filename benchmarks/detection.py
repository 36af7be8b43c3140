"""How often a face is found by its size and its turn, and what is taken for one though it is none.

python -m benchmarks.detection PHOTOS [--nothing FOLDER] [--photos 98] [--painted 293]

Photos with one face each are pasted into a 1280 x 960 scene at falling sizes, turned in steps of 15
degrees, and have their faces painted out. --nothing: pictures without any face.
"""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stages import list_photos
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.detector import Face, FaceDetector
from photo2cartoon.pipeline.faces.warp import apply
from photo2cartoon.pipeline.opening import open_pipeline

SCENE = (1280, 960)
FACE_HEIGHTS = (1.2, 0.8, 0.45, 0.2, 0.15, 0.1, 0.07, 0.05, 0.035)  # of the scene's long side
HEAD = 1.45  # height of a detector's face box, which the older tables count, over ours
NEAR = 0.15  # of the face's side: eyes further from the truth are not this face's
LEVEL = 8.0  # degrees
TURNS = range(0, 360, 15)

Image = NDArray[np.uint8]


def main(
    source: Annotated[Path, typer.Argument(help="Folder of photos with one face each.")],
    nothing: Annotated[Path | None, typer.Option(help="Folder without faces.")] = None,
    photos: Annotated[int, typer.Option(help="For sizes and turns.")] = 98,
    painted: Annotated[int, typer.Option(help="To paint out.")] = 293,
) -> None:
    """Print three tables."""
    detector = open_pipeline(Settings()).cropper.detector
    known = read(detector, source, max(photos, painted))
    spread = known[:: max(1, len(known) // photos)][:photos]
    console = Console()
    console.print(sizes(detector, spread))
    console.print(turns(detector, spread))
    table = Table("pictures without a face", "count", "taken for one")
    blind = [paint_out(image, face) for image, face in known[:painted]]
    table.add_row(
        "painted out",
        str(len(blind)),
        str(sum(bool(detector.detect(i, every=True)) for i in blind)),
    )
    if nothing:
        empty = [decode_image(path.read_bytes(), 10**8) for path in list_photos([nothing])]
        wrong = sum(bool(detector.detect(image, every=True)) for image in empty)
        table.add_row(str(nothing.name), str(len(empty)), str(wrong))
    console.print(table)


def read(detector: FaceDetector, source: Path, count: int) -> list[tuple[Image, Face]]:
    """Photos in which exactly one face is found, spread over the folder."""
    paths = list_photos([source])
    known: list[tuple[Image, Face]] = []
    for path in paths[:: max(1, len(paths) // (count + count // 10))]:
        image = decode_image(path.read_bytes(), 10**8)
        faces = detector.detect(image)
        if len(faces) == 1 and len(known) < count:
            known.append((image, faces[0]))
    return known


def sizes(detector: FaceDetector, known: list[tuple[Image, Face]]) -> Table:
    """Share found by face height."""
    table = Table("face height / long side", *(str(height) for height in FACE_HEIGHTS))
    cells = []
    for height in track(FACE_HEIGHTS, "sizes", transient=True):
        hits = 0
        for image, face in known:
            scale = height * SCENE[0] / (face.box[3] - face.box[1]) / HEAD
            centre = (face.box[:2] + face.box[2:]) / 2
            matrix = np.column_stack([np.eye(2) * scale, np.array(SCENE) / 2 - centre * scale])
            hits += is_hit(detector.detect(place(image, matrix, SCENE)), face, matrix)
        cells.append(f"{100 * hits / len(known):.0f} %")
    table.add_row(f"found, {len(known)} photos", *cells)
    return table


def turns(detector: FaceDetector, known: list[tuple[Image, Face]]) -> Table:
    """Share found, and share found level, by the photo's turn."""
    table = Table("turned by", "found", f"of these, roll wrong by > {LEVEL:.0f} degrees")
    for turn in track(TURNS, "turns", transient=True):
        hits, wrong = 0, 0
        for image, face in known:
            height, width = image.shape[:2]
            side = int(np.hypot(width, height))
            centre = width / 2, height / 2
            matrix = np.asarray(cv2.getRotationMatrix2D(centre, turn, 1.0), np.float64)
            matrix[:, 2] += side / 2 - np.array([width, height]) / 2
            faces = detector.detect(place(image, matrix, (side, side)))
            if is_hit(faces, face, matrix):
                hits += 1
                wrong += abs(roll_error(faces[0].eyes, face.eyes, turn)) > LEVEL
        table.add_row(f"{turn}", f"{hits} of {len(known)}", str(wrong))
    return table


def place(image: Image, matrix: NDArray[np.float64], size: tuple[int, int]) -> Image:
    """Lay `image` on gray by an affine map, averaging areas where it shrinks."""
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink < 1:
        small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        factor = np.array([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]])
        image, matrix = small.astype(np.uint8), matrix @ np.diag([*factor, 1.0])
    placed = cv2.warpAffine(image, matrix, size, borderValue=(127.0, 127.0, 127.0))
    return placed.astype(np.uint8, copy=False)


def is_hit(faces: list[Face], truth: Face, matrix: NDArray[np.float64]) -> bool:
    """Whether the largest face found is the one that was placed."""
    if not faces:
        return False
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    apart = np.linalg.norm(faces[0].eyes.mean(axis=0) - apply(matrix, truth.eyes).mean(axis=0))
    return bool(apart < NEAR * truth.side * scale)


def roll_error(eyes: NDArray[np.float64], truth: NDArray[np.float64], turn: float) -> float:
    """Degrees between the eye line found and the one expected, -180..180."""

    def roll(eyes: NDArray[np.float64]) -> float:
        dx, dy = eyes[1] - eyes[0]
        return float(np.degrees(np.arctan2(dy, dx)))

    return (roll(eyes) - roll(truth) + turn + 180) % 360 - 180


def paint_out(image: Image, face: Face) -> Image:
    """Cover the face with an ellipse of the colour around it."""
    left, top, right, bottom = face.box
    centre = int((left + right) / 2), int((top + bottom) / 2)
    axes = int((right - left) * 0.6), int((bottom - top) * 0.75)
    covered = image.copy()
    colour = [float(value) for value in np.median(image.reshape(-1, 3), axis=0)]
    cv2.ellipse(covered, centre, axes, 0, 0, 360, colour, -1)
    return covered


if __name__ == "__main__":
    typer.run(main)
