"""How true the colours of faces stay: as drawn, and with the colours from the photo.

python -m benchmarks.colours FOLDER [--count 200] [--generator photo2cartoon-lite]

Inside the face of the aligned square, where the cartoon is neither a line nor white paper:

    stains       pixels whose chroma (CIE Lab) is more than 14 from the photo's, blurred by 6 px
    chroma off   the median distance of the two
    order        rank correlation of the faces' median lightness, photo against cartoon
    dark, fair   how much lighter (L) the darkest and the fairest quarter of the faces are drawn
    ms           of `pipeline.colours.recolour`, one thread, the best of 50

The measure is not what any loss of a training saw. It says nothing of likeness or of lines.
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

from benchmarks.stages import list_photos
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.colours import recolour
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.manifest import Colours
from photo2cartoon_models.preprocess import composite

FACE = (0.5, 0.6), (0.2, 0.24)  # centre and radii of the face in the aligned square, shares of it
STAIN, BLUR_PX = 14, 6
LINE, PAPER, COLOURED = 30, 97, 8  # L below which a pixel is line; above which white; least chroma
FEWEST = 3000  # pixels of a face that counts

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Row:
    """One face: share of stains, chroma's median distance, lightness of photo and cartoon."""

    stains: float
    off: float
    photo: float
    cartoon: float


def main(
    folder: Annotated[Path, typer.Argument(help="Photos.")],
    count: Annotated[int, typer.Option(help="How many, spread evenly over the names.")] = 200,
    generator: Annotated[str, typer.Option(help="Its name.")] = "photo2cartoon-lite",
) -> None:
    """Measure a generator's colours over photos."""
    pipeline = open_pipeline(Settings(generator=Path(generator)))
    photos = list_photos([folder])
    photos = photos[:: max(1, len(photos) // count)][:count]
    rows: dict[Colours, list[Row]] = {"drawn": [], "photo": []}
    for path in track(photos, "photos", transient=True):
        try:
            _, (portrait,) = pipeline.prepare(path.read_bytes(), Options(), Ticket())
        except Problem:
            continue
        seen = composite(portrait.cut.crop.pixels, portrait.matte)
        for colours, found in rows.items():
            (cartoon,) = pipeline.draw(path.read_bytes(), Options(colours=colours), Ticket())
            if row := measure(seen, cartoon):
                found.append(row)
    report(generator, rows, fastest_ms(pipeline, photos[0]))


def measure(photo: Image, cartoon: Image) -> Row | None:
    """Compare `(S, S, 3)` uint8 RGB pictures on white; None where too little of a face is there."""
    size = photo.shape[0]
    y, x = np.indices((size, size)) / size
    (cx, cy), (rx, ry) = FACE
    lab, drawn = to_lab(photo), to_lab(cartoon)
    face = (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1) & (lab[:, :, 0] < PAPER)
    if face.sum() < FEWEST:
        return None
    own = cv2.GaussianBlur(lab, (0, 0), BLUR_PX)[:, :, 1:]
    apart = np.linalg.norm(drawn[:, :, 1:] - own, axis=2)
    seen = face & (drawn[:, :, 0] > LINE)
    coloured = np.maximum(np.linalg.norm(drawn[:, :, 1:], axis=2), np.linalg.norm(own, axis=2))
    claims = seen & (coloured > COLOURED)
    return Row(
        float((apart[claims] > STAIN).mean()) if claims.any() else 0.0,
        float(np.median(apart[seen])) if seen.any() else 0.0,
        float(np.median(lab[:, :, 0][face])),
        float(np.median(drawn[:, :, 0][face])),
    )


def to_lab(picture: Image) -> NDArray[np.float32]:
    """`(S, S, 3)` uint8 RGB to CIE Lab, L 0..100."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return np.asarray(lab, np.float32)


def fastest_ms(pipeline: Pipeline, photo: Path) -> float:
    """Ms of recolouring one drawing, the best of 50 runs."""
    _, (portrait,) = pipeline.prepare(photo.read_bytes(), Options(), Ticket())
    crop, matte = portrait.cut.crop.pixels, portrait.matte
    times = []
    for _ in range(50):
        start = time.perf_counter()
        recolour(crop, crop, matte)
        times.append((time.perf_counter() - start) * 1000)
    return min(times)


def report(generator: str, rows: dict[Colours, list[Row]], ms: float) -> None:
    """Print the table."""
    title = f"{generator}, {len(rows['drawn'])} faces"
    table = Table(
        "colours", "stains %", "p90 %", "chroma off", "order", "dark", "fair", title=title
    )
    for colours, found in rows.items():
        stains, off, photo, cartoon = np.array(
            [(row.stains, row.off, row.photo, row.cartoon) for row in found]
        ).T
        quarter, by_tone = max(1, len(photo) // 4), np.argsort(photo)
        lift = (cartoon - photo)[by_tone]
        own, drawn = (np.argsort(np.argsort(values)) for values in (photo, cartoon))
        table.add_row(
            colours,
            f"{stains.mean() * 100:.1f}",
            f"{np.quantile(stains, 0.9) * 100:.0f}",
            f"{off.mean():.1f}",
            f"{np.corrcoef(own, drawn)[0, 1]:.3f}",
            f"{lift[:quarter].mean():+.1f}",
            f"{lift[-quarter:].mean():+.1f}",
        )
    console = Console()
    console.print(table)
    console.print(f"recolouring: {ms:.1f} ms at 256 px, one thread")


if __name__ == "__main__":
    typer.run(main)
