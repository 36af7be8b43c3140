"""What scaled decoding saves: everything but the generator, on large JPEGs, against the plain way.

python -m benchmarks.decode [PHOTO] [--rounds 15]

The photo (with one large face) is enlarged to 2 and 12 megapixels and stored as baseline and
progressive JPEG. Both ways take turns in one run; memory is the peak of a process of its own.
"""

import io
import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.stages import EXAMPLE
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline import cropper
from photo2cartoon.pipeline.drawer import Drawing
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline, finish
from photo2cartoon_models.preprocess import to_image

SIZES = {"2 MP": (1632, 1224), "12 MP": (4032, 3024)}
PLAIN = 10**9  # a long side that no photo reaches: decoded in full


def main(
    photo: Annotated[Path, typer.Argument(help="A portrait.")] = EXAMPLE,
    rounds: Annotated[int, typer.Option(min=3)] = 15,
) -> None:
    """Print one table."""
    pipeline = open_pipeline(Settings())
    table = Table("JPEG", "scaled ms", "plain ms", "ratio", "scaled MiB", "plain MiB")
    for name, size in SIZES.items():
        for kind in ("baseline", "progressive"):
            data = make_jpeg(photo, size, progressive=kind == "progressive")
            scaled, plain = interleave(pipeline, data, rounds)
            memory = [extra_memory(data, long_side) for long_side in (None, PLAIN)]
            table.add_row(
                f"{name} {kind}",
                f"{scaled:.1f}",
                f"{plain:.1f}",
                f"{plain / scaled:.2f}",
                *(f"{mib:.0f}" for mib in memory),
            )
    Console().print(table)


def make_jpeg(photo: Path, size: tuple[int, int], *, progressive: bool) -> bytes:
    """The photo, cut to 4:3 and enlarged, with a camera's fine noise so that it is a real load."""
    with Image.open(photo) as image:
        width, height = image.size
        cut = image.convert("RGB").crop((0, 0, width, min(height, width * 3 // 4)))
        pixels = np.asarray(cut.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape).astype(np.int16)
    buffer = io.BytesIO()
    noisy = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
    noisy.save(buffer, "JPEG", quality=92, progressive=progressive)
    return buffer.getvalue()


def all_but_generate(pipeline: Pipeline, data: bytes) -> None:
    """Run every stage but the generator; its input stands for its output."""
    ticket = Ticket()
    image, (portrait,) = pipeline.prepare(data, Options(), ticket)
    drawing = Drawing(to_image(portrait.tensor), portrait.matte)
    encode_image(finish(image, [portrait.cut], [drawing], Options())[0], "png")


def interleave(pipeline: Pipeline, data: bytes, rounds: int) -> tuple[float, float]:
    """Median ms of both ways, taking turns."""
    times: dict[int, list[float]] = {SCALED: [], PLAIN: []}
    for _ in range(rounds):
        for long_side, seconds in times.items():
            seconds.append(timed(lambda: all_but_generate(pipeline, data), long_side))
    return float(np.median(times[SCALED])) * 1000, float(np.median(times[PLAIN])) * 1000


def timed(work: Callable[[], None], long_side: int) -> float:
    """Seconds of `work` with detection at `long_side`."""
    cropper.DETECTION_LONG_SIDE = long_side
    try:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    finally:
        cropper.DETECTION_LONG_SIDE = SCALED


def extra_memory(data: bytes, long_side: int | None) -> float:
    """Peak MiB that one photo adds to a warm process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (data, long_side or SCALED))


def _peak(data: bytes, long_side: int) -> float:
    pipeline = open_pipeline(Settings())
    all_but_generate(pipeline, EXAMPLE.read_bytes())
    before = _high_water_mib()
    timed(lambda: all_but_generate(pipeline, data), long_side)
    return _high_water_mib() - before


def _high_water_mib() -> float:
    """Largest resident size of this process so far (getrusage's is inherited from the parent)."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


SCALED = cropper.DETECTION_LONG_SIDE

if __name__ == "__main__":
    typer.run(main)
