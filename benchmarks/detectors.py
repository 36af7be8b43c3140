"""The embedded detector beside InsightFace's: what they find, how alike they crop, what they take.

python -m benchmarks.detectors PHOTOS --pack FOLDER [--step 1]

The pack is yours to get (docs/insightface.md). CPU ms are the thread's own, without its waiting for
others. Crop squares are compared on photos in which both find the same face; distances are shares
of the embedded detector's square.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stages import list_photos
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.alignment import Alignment, estimate_alignment
from photo2cartoon.pipeline.cropper import DETECTION_LONG_SIDE
from photo2cartoon.pipeline.decode import decode_photo
from photo2cartoon.pipeline.faces.detector import Face, FaceDetector
from photo2cartoon.pipeline.faces.scrfd import Landmarks106
from photo2cartoon.pipeline.opening import open_pipeline

SAME_FACE = 0.5  # of the square's side: centres further apart are another face's
SIZE = 256


@dataclass(frozen=True, slots=True)
class Look:
    """What one detector made of one photo."""

    face: Face | None
    ms: float
    cpu_ms: float


def main(
    source: Annotated[Path, typer.Argument(help="Folder of photos.")],
    pack: Annotated[Path, typer.Option(help="Folder of InsightFace's model files.")],
    step: Annotated[int, typer.Option(help="Take every n-th photo.")] = 1,
) -> None:
    """Print what is found, then how the crop squares differ."""
    theirs = Settings(detector="insightface", insightface_pack=pack)
    detectors = {
        "embedded": open_pipeline(Settings()).cropper.detector,
        "insightface": open_pipeline(theirs).cropper.detector,
    }
    looks: dict[str, list[Look]] = {name: [] for name in detectors}
    differences = []
    another = 0
    photos = list_photos([source])[::step]
    for number, path in enumerate(track(photos, "photos", transient=True)):
        image = decode_photo(path.read_bytes(), 10**8, DETECTION_LONG_SIDE).pixels
        # Who comes first meets the colder caches: they take turns.
        for name in sorted(detectors, reverse=bool(number % 2)):
            looks[name].append(look(detectors[name], image))
        ours, other = (looks[name][-1].face for name in detectors)
        if ours and other:
            row = compare(ours, other, (image.shape[1], image.shape[0]))
            if row["centre, %"] < SAME_FACE * 100:
                differences.append(row)
            else:
                another += 1
    console = Console()
    console.print(tabulate_looks(looks))
    console.print(f"the same face {len(differences)} times, another one {another} times")
    console.print(tabulate(differences))
    landmarks = detectors["insightface"].landmarks
    if isinstance(landmarks, Landmarks106):
        used = landmarks.asked - landmarks.refused
        console.print(f"2d106's points were used for {used} of {landmarks.asked} faces")


def look(detector: FaceDetector, image: NDArray[np.uint8]) -> Look:
    """Detect, and take the time."""
    since, cpu_since = time.perf_counter(), time.thread_time()
    faces = detector.detect(image)
    ms, cpu_ms = (time.perf_counter() - since) * 1000, (time.thread_time() - cpu_since) * 1000
    return Look(faces[0] if faces else None, ms, cpu_ms)


def compare(ours: Face, other: Face, size: tuple[int, int]) -> dict[str, float]:
    """How `other`'s crop square differs from `ours`."""
    first, second = estimate_alignment(ours, size), estimate_alignment(other, size)
    apart = np.linalg.norm(centre_of(second) - centre_of(first))
    return {
        "centre, %": float(apart / first.side * 100),
        "side, %": (second.side / first.side - 1) * 100,
        "roll, degrees": (roll(other) - roll(ours) + 180) % 360 - 180,
    }


def centre_of(alignment: Alignment) -> NDArray[np.float64]:
    """Where the square's middle lies in the photo, px."""
    middle = np.array([(SIZE - 1) / 2, (SIZE - 1) / 2, 1])
    return np.asarray(alignment.to_photo(SIZE) @ middle)


def roll(face: Face) -> float:
    """Angle of the eye line, degrees."""
    dx, dy = face.eyes[1] - face.eyes[0]
    return float(np.degrees(np.arctan2(dy, dx)))


def tabulate_looks(looks: dict[str, list[Look]]) -> Table:
    """Found share and times by detector."""
    table = Table(
        "detector", "photos", "found", "share", "median ms", "p95", "median CPU ms", "p95"
    )
    for name, rows in looks.items():
        found = sum(row.face is not None for row in rows)
        columns = ([row.ms for row in rows], [row.cpu_ms for row in rows])
        times = [f"{np.percentile(ms, share):.1f}" for ms in columns for share in (50, 95)]
        table.add_row(name, str(len(rows)), str(found), f"{found / len(rows):.2%}", *times)
    return table


def tabulate(differences: list[dict[str, float]]) -> Table:
    """Mean, and mean, 95th percentile and largest of the sizes."""
    table = Table("insightface - embedded", "mean", "mean of |.|", "p95 of |.|", "max of |.|")
    for name in differences[0] if differences else ():
        values = np.array([row[name] for row in differences])
        sizes = np.abs(values)
        figures = (values.mean(), sizes.mean(), np.percentile(sizes, 95), sizes.max())
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    return table


if __name__ == "__main__":
    typer.run(main)
