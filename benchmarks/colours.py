"""How true the colours of faces stay: as drawn, and with the colours from the photo.

python -m benchmarks.colours FOLDER [--count 200] [--generator photo2cartoon-lite]

The figures are those of `photo2cartoon evaluate` (photo2cartoon_models.evaluation.colours), and

    ms           of `pipeline.colours.recolour`, one thread, the best of 50
"""

import time
from pathlib import Path
from typing import Annotated

import typer
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
from photo2cartoon_models.evaluation.colours import (
    MEANINGS,
    FaceColours,
    compare_colours,
    summarise,
)
from photo2cartoon_models.manifest import Colours
from photo2cartoon_models.preprocess import composite


def main(
    folder: Annotated[Path, typer.Argument(help="Photos.")],
    count: Annotated[int, typer.Option(help="How many, spread evenly over the names.")] = 200,
    generator: Annotated[str, typer.Option(help="Its name.")] = "photo2cartoon-lite",
) -> None:
    """Measure a generator's colours over photos."""
    pipeline = open_pipeline(Settings(generator=Path(generator)))
    photos = list_photos([folder])
    photos = photos[:: max(1, len(photos) // count)][:count]
    rows: dict[Colours, list[FaceColours]] = {"drawn": [], "photo": []}
    for path in track(photos, "photos", transient=True):
        try:
            _, (portrait,) = pipeline.prepare(path.read_bytes(), Options(), Ticket())
        except Problem:
            continue
        seen = composite(portrait.cut.crop.pixels, portrait.matte)
        for colours, found in rows.items():
            (cartoon,) = pipeline.draw(path.read_bytes(), Options(colours=colours), Ticket())
            if row := compare_colours(seen, cartoon):
                found.append(row)
    report(generator, rows, fastest_ms(pipeline, photos[0]))


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


def report(generator: str, rows: dict[Colours, list[FaceColours]], ms: float) -> None:
    """Print the table."""
    title = f"{generator}, {len(rows['drawn'])} faces"
    table = Table("colours", *MEANINGS.values(), title=title)
    for colours, found in rows.items():
        figures = {name: figure.value for name, figure in summarise(found).items()}
        shares = [f"{figures.pop(name):.1%}" for name in ("stains", "stains_p90")]
        table.add_row(colours, *shares, *(f"{value:.3g}" for value in figures.values()))
    console = Console()
    console.print(table)
    console.print(f"recolouring: {ms:.1f} ms at 256 px, one thread")


if __name__ == "__main__":
    typer.run(main)
