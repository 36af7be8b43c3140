"""How long each stage takes, and how many photos come through: one thread, the real models.

python -m benchmarks.stages PHOTO_OR_FOLDER... [--left-half] [--sheet SHEET.png]

Without arguments: the example photo, 100 times. Both runtimes of a CPU take turns at every photo.
The last column is the median, over the photos, of ONNX Runtime's time divided by the other's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.processor import describe_processor
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.opening import open_on, open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.runtime.device import CPU

EXAMPLE = Path(__file__).parents[1] / "examples" / "photos" / "astronaut.jpg"
STATISTICS = ("best", "median", "p95")
SHEET_CELLS, SHEET_COLUMNS, CELL_PX = 60, 6, 160

Image = NDArray[np.uint8]


def main(
    sources: Annotated[list[Path] | None, typer.Argument()] = None,
    left_half: Annotated[bool, typer.Option(help="Use the left half of each picture.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet here.")] = None,
) -> None:
    """Measure the stages over photos."""
    photos = list_photos(sources) if sources else [EXAMPLE] * 100
    settings = Settings(threads=1)
    pipeline, chosen = open_on(CPU, settings), open_pipeline(settings)
    pipelines = {each.device.describe(): each for each in (pipeline, chosen)}
    pairs: list[Image] = []
    times: dict[str, dict[str, list[float]]] = {}
    missed: list[str] = []
    every = max(1, len(photos) // SHEET_CELLS)
    for number, path in enumerate(track(photos, "photos", transient=True)):
        data = read_photo(path, left_half)
        tickets = {runtime: Ticket() for runtime in pipelines}
        try:
            for runtime, ticket in tickets.items():
                (cartoon,) = pipelines[runtime].cartoonize(data, ticket=ticket)
        except Problem as problem:
            missed.append(f"{path.name}: {problem.code}")
            continue
        for runtime, ticket in tickets.items():
            for stage, seconds in ticket.seconds.items():
                stages = times.setdefault(stage, {})
                stages.setdefault(runtime, []).append(seconds * 1000)
        if sheet and number % every == 0 and len(pairs) < SHEET_CELLS:
            pairs.append(side_by_side(data, cartoon, pipeline))
    report(times, len(photos), missed)
    if sheet:
        sheet.write_bytes(encode_image(grid(pairs), "png"))


def list_photos(sources: list[Path]) -> list[Path]:
    """Pictures of folders, in the order of their names, and single files."""
    suffixes = {".jpg", ".jpeg", ".png", ".webp"}
    return [
        path
        for source in sources
        for path in (sorted(source.iterdir()) if source.is_dir() else [source])
        if path.suffix.lower() in suffixes
    ]


def read_photo(path: Path, left_half: bool) -> bytes:
    """The file's bytes, or its left half as a PNG."""
    data = path.read_bytes()
    if not left_half:
        return data
    image = decode_image(data, 10**8)
    return encode_image(np.ascontiguousarray(image[:, : image.shape[1] // 2]), "png")


def report(times: dict[str, dict[str, list[float]]], photos: int, missed: list[str]) -> None:
    """Print the share with a result, what was missed, and the stages' times by runtime, ms."""
    console = Console(width=120)
    console.print(describe_processor(), markup=False)
    done = photos - len(missed)
    console.print(f"{done} of {photos} photos with a result ({done / photos:.2%})")
    for line in missed:
        console.print(f"  {line}", markup=False)
    runtimes = list(next(iter(times.values()), {}))
    columns = [f"{name}: {what}" for name in runtimes for what in STATISTICS]
    table = Table("stage", *columns, "times as fast")
    totals = {runtime: np.zeros(done) for runtime in runtimes}
    for stage, by_runtime in times.items():
        for runtime in runtimes:
            totals[runtime] += by_runtime[runtime]
        table.add_row(stage, *cells(by_runtime))
    table.add_row("all", *cells(totals))
    console.print(table)


def cells(by_runtime: Mapping[str, Sequence[float] | NDArray[np.float64]]) -> list[str]:
    """What a row of the table says of each runtime, as `STATISTICS` names it, and their ratio."""
    figures = [
        f"{value:.2f}"
        for values in by_runtime.values()
        for value in (np.min(values), np.median(values), np.percentile(values, 95))
    ]
    times = [np.asarray(values) for values in by_runtime.values()]
    return [*figures, f"{np.median(times[0] / times[-1]):.2f}"]


def side_by_side(photo: bytes, cartoon: bytes, pipeline: Pipeline) -> Image:
    """Photo and cartoon as one picture `(CELL_PX, 2 * CELL_PX, 3)`."""
    image = decode_image(photo, pipeline.cropper.max_pixels)
    scale = CELL_PX / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    cell = np.full((CELL_PX, 2 * CELL_PX, 3), 128, np.uint8)
    cell[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    drawn = decode_image(cartoon, pipeline.cropper.max_pixels)
    cell[:, CELL_PX:] = cv2.resize(drawn, (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA)
    return cell


def grid(cells: list[Image]) -> Image:
    """Cells in rows of `SHEET_COLUMNS`."""
    blank = np.full_like(cells[0], 128)
    cells = cells + [blank] * (-len(cells) % SHEET_COLUMNS)
    rows = [cells[k : k + SHEET_COLUMNS] for k in range(0, len(cells), SHEET_COLUMNS)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


if __name__ == "__main__":
    typer.run(main)
