"""Small heads in large pictures: how many are found, how many finds are none, and what it costs.

python -m benchmarks.groups PHOTOS [--scenes 5] [--sheet FOLDER]

Heads from photos with one face each are pasted in a grid into 1280 x 960 scenes at falling sizes,
one alone into the same scene, and one into a panorama of 4000 x 400. ms are the thread's own.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.detection import HEAD, SCENE, Image, read
from benchmarks.turned import is_wrong
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.faces.detector import Face, FaceDetector
from photo2cartoon.pipeline.opening import open_pipeline

HEAD_HEIGHTS = (80, 50, 34, 20)  # px, of a detector's box, forehead included
PANORAMA = (4000, 400)
COLUMNS, ROWS = 6, 4
MARGIN = 2.2  # side of what is pasted over the face's

Points = NDArray[np.float64]
Known = list[tuple[Image, Face]]


@dataclass
class Count:
    """What became of the heads of one kind of scene."""

    heads: int = 0
    found: int = 0
    turned: int = 0
    none: int = 0
    ms: float = 0.0
    megapixels: float = 0.0

    def add(self, faces: list[Face], expected: list[Points]) -> None:
        """Match the finds to the heads by the middle of their eyes."""
        self.heads += len(expected)
        left = list(faces)
        for eyes in expected:
            near = [face for face in left if lies_at(face, eyes)]
            if near:
                left.remove(near[0])
                self.found += 1
                self.turned += is_wrong(near[0].eyes, eyes)
        self.none += len(left)


def main(
    source: Annotated[Path, typer.Argument(help="Folder of photos with one face each.")],
    scenes: Annotated[int, typer.Option(help="How many of each kind.")] = 5,
    sheet: Annotated[Path | None, typer.Option(help="Write the scenes to this folder.")] = None,
) -> None:
    """Print one row per kind of scene."""
    detector = open_pipeline(Settings()).cropper.detector
    known = read(detector, source, COLUMNS * ROWS * 2)
    table = Table("scene", "heads", "found", "of these wrong", "finds without a head", "ms per MP")
    for height in HEAD_HEIGHTS:
        for name, size, many in (
            ("group", SCENE, True),
            ("alone", SCENE, False),
            ("panorama", PANORAMA, False),
        ):
            title = f"{name}, heads of {height} px"
            count = Count()
            for seed in track(range(scenes), title, transient=True):
                scene, expected = compose(known, size, height, seed, many=many)
                count_scene(detector, count, scene, expected, many=many)
                if sheet:
                    path = sheet / f"{name}-{height}-{seed}.png"
                    path.write_bytes(encode_image(scene, "png"))
            cells = (count.heads, count.found, count.turned, count.none)
            table.add_row(title, *map(str, cells), f"{count.ms / count.megapixels:.0f}")
    Console().print(table)


def compose(
    known: Known, size: tuple[int, int], height: int, seed: int, *, many: bool
) -> tuple[Image, list[Points]]:
    """Paste heads of `height` px on soft colours; return the scene, and where the eyes are."""
    random = np.random.default_rng(seed)
    soft = random.integers(60, 200, (size[1] // 80, size[0] // 80, 3), np.uint8)
    scene = cv2.resize(soft, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
    columns, rows = (COLUMNS, ROWS) if many else (1, 1)
    expected = []
    for place in range(columns * rows):
        image, face = known[random.integers(len(known))]
        cell = np.array([size[0] / columns, size[1] / rows])
        spread = cell / 2 - MARGIN * height / 2 - 1
        middle = cell * (place % columns + 0.5, place // columns + 0.5)
        expected.append(paste(scene, image, face, middle + random.uniform(-spread, spread), height))
    return scene, expected


def paste(scene: Image, image: Image, face: Face, middle: Points, height: int) -> Points:
    """Lay the surroundings of a face into the scene; return its eyes there."""
    centre, side = (face.box[:2] + face.box[2:]) / 2, MARGIN * (face.box[3] - face.box[1])
    left, top = np.maximum(np.round(centre - side / 2), 0).astype(int)
    right, bottom = np.round(centre + side / 2).astype(int)
    cut = image[top:bottom, left:right]
    scale = height / HEAD / (face.box[3] - face.box[1])
    small = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x, y = np.round(middle - np.array(small.shape[1::-1]) / 2).astype(int)
    scene[y : y + small.shape[0], x : x + small.shape[1]] = small
    return np.asarray((face.eyes - np.array([left, top])) * scale + np.array([x, y]))


def count_scene(
    detector: FaceDetector, count: Count, scene: Image, expected: list[Points], *, many: bool
) -> None:
    """Look for every head of a group, or for the largest face."""
    since = time.thread_time()
    faces = detector.detect(scene, every=many)
    count.ms += (time.thread_time() - since) * 1000
    count.megapixels += scene.shape[0] * scene.shape[1] / 1e6
    count.add(faces, expected)


def lies_at(face: Face, eyes: Points) -> bool:
    """Whether a face is the one with these eyes: within their distance."""
    apart = np.linalg.norm(face.eyes.mean(axis=0) - eyes.mean(axis=0))
    return bool(apart < np.linalg.norm(eyes[1] - eyes[0]))


if __name__ == "__main__":
    typer.run(main)
