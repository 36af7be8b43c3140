"""What a portrait costs by style and size, and a whole photo: one thread, least of several runs.

python -m benchmarks.styles [--rounds 9] [--style NAME]...

The example photo is enlarged, so that every size can be filled. Styles take turns within a round,
so that a busy moment meets them all; ratios are to the first style at 256 px. Memory is what the
process grew to hold at most when it first drew so, MiB; what came before it is not in it.
"""

import io
import resource
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.styles import SIZES

EXAMPLE = Path(__file__).parents[1] / "examples" / "photos" / "astronaut.jpg"
ENLARGE = 4.6  # the square around the face then has 1,024 px
WHOLE = "whole"


def main(
    rounds: Annotated[int, typer.Option(min=3)] = 9,
    style: Annotated[list[str] | None, typer.Option(help="Styles; default: those loaded.")] = None,
) -> None:
    """Print ms by style and size: the generator alone, what surrounds it, and all of it."""
    settings = Settings(styles=tuple(map(Path, style))) if style else Settings()
    pipeline = open_pipeline(settings)
    photo = enlarged(EXAMPLE.read_bytes())
    cases = [
        Options(style=name, size=size)
        for name in (style or pipeline.styles.drawers)
        for size in SIZES
    ]
    able = (name for name, drawer in pipeline.styles.drawers.items() if drawer.model.takes_any_size)
    cases += [Options(style=name, compose=WHOLE) for name in able]
    least: list[dict[str, float]] = [{} for _ in cases]
    grown: list[int] = []
    for _ in range(rounds):
        for case, known in zip(cases, least, strict=True):
            ticket, before = Ticket(), peak_mib()
            pipeline.draw(photo, case, ticket)
            if len(grown) < len(cases):
                grown.append(peak_mib() - before)
            found = {
                "generate": ticket.seconds[Stage.GENERATE],
                "compose": ticket.seconds[Stage.COMPOSE],
                "all": sum(ticket.seconds.values()),
            }
            for stage, seconds in found.items():
                known[stage] = min(known.get(stage, seconds), seconds)
    report(cases, least, grown)


def peak_mib() -> int:
    """The most memory that the process has held so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def enlarged(photo: bytes) -> bytes:
    """The same photo with a face that fills every size, as JPEG."""
    with Image.open(io.BytesIO(photo)) as image:
        side = [round(side * ENLARGE) for side in image.size]
        buffer = io.BytesIO()
        image.convert("RGB").resize(side, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=92)
        return buffer.getvalue()


def report(cases: list[Options], least: list[dict[str, float]], grown: list[int]) -> None:
    """Print the table."""
    table = Table("style", "size", "generator ms", "ratio", "compose ms", "photo ms", "MiB")
    first = least[0]["generate"]
    for case, known, more in zip(cases, least, grown, strict=True):
        size = WHOLE if case.compose == WHOLE else str(case.size)
        ratio = f"{known['generate'] / first:.2f}"
        times = [f"{known[stage] * 1000:.1f}" for stage in ("generate", "compose", "all")]
        table.add_row(str(case.style), size, times[0], ratio, *times[1:], str(more))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
