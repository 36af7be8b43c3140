"""Our crop's landmarks beside dlib's 68 points, for which upstream's crop rule was made.

In a virtual environment of its own (dlib's models are for research; they are only compared with):
    pip install -r requirements/cpu.txt dlib-bin face_recognition_models "setuptools<81"
    python -m benchmarks.landmarks PHOTO_OR_FOLDER... [--limit 600]

Printed are differences in the frame of dlib's eye line, as shares of dlib's landmark box height.
"""

from pathlib import Path
from typing import Annotated

import dlib
import face_recognition_models
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stages import list_photos
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.detector import CHIN_DROP
from photo2cartoon.pipeline.opening import open_pipeline

LEFT_EYE, RIGHT_EYE = 36, 45
SAME_FACE = 0.3  # of the eyes' distance: further apart, the two looked at different faces

Points = NDArray[np.float64]


def main(
    sources: Annotated[list[Path], typer.Argument()],
    limit: Annotated[int, typer.Option(help="Photos at most, spread over all.")] = 600,
) -> None:
    """Compare over photos in which dlib finds exactly one face."""
    find = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
    pipeline = open_pipeline(Settings())
    photos = list_photos(sources)
    rows = []
    for path in track(photos[:: max(1, len(photos) // limit)], "photos", transient=True):
        image = decode_image(path.read_bytes(), pipeline.cropper.max_pixels)
        boxes, faces = find(image, 0), pipeline.cropper.detector.detect(image)
        if len(boxes) != 1 or not faces:
            continue
        theirs = np.array([(p.x, p.y) for p in predict(image, boxes[0]).parts()], np.float64)
        ours = faces[0]
        apart = np.linalg.norm(ours.eyes[0] - theirs[LEFT_EYE])
        if apart < SAME_FACE * np.linalg.norm(ours.eyes[1] - ours.eyes[0]):
            rows.append(compare(ours.eyes, ours.outline, theirs))
    table = Table("ours - dlib's", "mean", "median", "sd")
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        figures = (values.mean(), np.median(values), values.std())
        table.add_row(name, *(f"{figure:.4f}" for figure in figures))
    console = Console()
    console.print(f"{len(rows)} photos; the chin is lowered by {CHIN_DROP} already")
    console.print(table)


def compare(eyes: Points, outline: Points, theirs: Points) -> dict[str, float]:
    """Differences for one face; `eyes` (2, 2), `outline` (N, 2), `theirs` (68, 2), all px."""
    dx, dy = theirs[RIGHT_EYE] - theirs[LEFT_EYE]
    angle = np.arctan2(dy, dx)
    upright = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    low, high = (pick(outline @ upright.T) for pick in (lower, upper))
    their_low, their_high = (pick(theirs @ upright.T) for pick in (lower, upper))
    height = their_high[1] - their_low[1]
    our_dx, our_dy = eyes[1] - eyes[0]
    return {
        "roll, degrees": float(np.degrees(np.arctan2(our_dy, our_dx) - angle)),
        "brow top": (low[1] - their_low[1]) / height,
        "chin": (high[1] - their_high[1]) / height,
        "centre x": ((low[0] + high[0]) - (their_low[0] + their_high[0])) / 2 / height,
        "height, ratio": (high[1] - low[1]) / height,
    }


def lower(points: Points) -> Points:
    """Left and top of points."""
    return np.asarray(points.min(axis=0))


def upper(points: Points) -> Points:
    """Right and bottom of points."""
    return np.asarray(points.max(axis=0))


if __name__ == "__main__":
    typer.run(main)
