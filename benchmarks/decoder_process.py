"""What decoding in a process of its own would cost a photo, and how long the slowest files take.

python -m benchmarks.decoder_process [PHOTO] [--rounds 40] [--worst] [FILE ...]

Here and there take turns on one JPEG of 2 megapixels. There is a process that waits, with shared
memory for the file and for the pixels, so that only a few words go through a pipe; the pixels are
not copied back. `--worst` decodes, here, files of 50 megapixels that are slow, and FILEs of yours;
their seconds are those of a processor, of all threads. The two PNG files are larger than a body may
be (`P2C_MAX_BODY_BYTES`), and stand for those that have fewer bytes.
"""

import io
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import psutil
import typer
from numpy.typing import NDArray
from PIL import Image, ImageCms
from rich.console import Console
from rich.table import Table

from benchmarks.decode import SIZES, make_jpeg
from benchmarks.stages import EXAMPLE
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.machine import MIB
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.cropper import DETECTION_LONG_SIDE
from photo2cartoon.pipeline.decode import decode_photo
from photo2cartoon.pipeline.headers import MAX_SCANNED

LIMITS = Settings()
SIDE = 7_064  # px: 49.9 megapixels, in whole blocks of 8
Image8 = NDArray[np.uint8]


class DecoderProcess:
    """A process that decodes one photo after another.

    Attributes:
        process: it.
        start_s: how long it took to be there.
    """

    def __init__(self) -> None:
        began = time.perf_counter()
        self._inbox = SharedMemory(create=True, size=LIMITS.max_body_bytes)
        self._outbox = SharedMemory(create=True, size=3 * LIMITS.max_pixels)
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        names = self._inbox.name, self._outbox.name
        self.process = context.Process(target=_decode_for_ever, args=(theirs, *names), daemon=True)
        self.process.start()
        self._pipe.recv()
        self.start_s = time.perf_counter() - began

    def decode(self, data: bytes) -> Image8:
        """Return the pixels, in memory that the next photo overwrites."""
        np.ndarray(len(data), np.uint8, self._inbox.buf)[:] = np.frombuffer(data, np.uint8)
        self._pipe.send(len(data))
        return np.ndarray(self._pipe.recv(), np.uint8, self._outbox.buf)

    def close(self) -> None:
        """End the process, and give its memory back."""
        self.process.kill()
        self.process.join()
        for memory in (self._inbox, self._outbox):
            memory.close()
            memory.unlink()


def _decode_for_ever(pipe: Connection, inbox_name: str, outbox_name: str) -> None:
    inbox, outbox = SharedMemory(inbox_name), SharedMemory(outbox_name)
    pipe.send("ready")
    while True:
        pixels = decode_here(np.ndarray(pipe.recv(), np.uint8, inbox.buf).tobytes())
        np.ndarray(pixels.shape, np.uint8, outbox.buf)[:] = pixels
        pipe.send(pixels.shape)


def decode_here(data: bytes) -> Image8:
    """Decode as the first step of the pipeline does."""
    return decode_photo(data, LIMITS.max_pixels, DETECTION_LONG_SIDE).pixels


def main(
    photo: Annotated[Path, typer.Argument(help="A portrait.")] = EXAMPLE,
    files: Annotated[list[Path] | None, typer.Argument(help="Further slow files.")] = None,
    rounds: Annotated[int, typer.Option(min=3)] = 40,
    worst: Annotated[bool, typer.Option("--worst", help="Time the slowest files too.")] = False,
) -> None:
    """Print one table, or two."""
    cv2.setNumThreads(1)
    console = Console()
    compare(make_jpeg(photo, SIZES["2 MP"], progressive=False), rounds, console)
    if worst:
        table = Table("file", "MB", "s of a processor", "outcome")
        for name, data in (
            *slow_files(),
            *((path.name, path.read_bytes()) for path in files or ()),
        ):
            seconds, outcome = time_one(data)
            table.add_row(name, f"{len(data) / 1e6:.1f}", f"{seconds:.2f}", outcome)
        console.print(table)


def compare(data: bytes, rounds: int, console: Console) -> None:
    """Decode `data` here and there in turns, and print both."""
    decoder = DecoderProcess()
    times: dict[Callable[[bytes], Image8], list[float]] = {decode_here: [], decoder.decode: []}
    try:
        if not np.array_equal(decode_here(data), decoder.decode(data)):
            raise AssertionError("both must decode the same pixels")
        for _ in range(rounds):
            for way, taken in times.items():
                start = time.perf_counter()
                way(data)
                taken.append(time.perf_counter() - start)
        resident = psutil.Process(decoder.process.pid).memory_full_info().uss / MIB
    finally:
        decoder.close()
    table = Table("decoded", "best ms", "p50 ms", "p90 ms")
    for name, taken in zip(("here", "in a process of its own"), times.values(), strict=True):
        table.add_row(name, *(f"{ms:.1f}" for ms in np.percentile(taken, (0, 50, 90)) * 1000))
    console.print(table)
    here, there = (np.percentile(taken, (0, 50)) * 1000 for taken in times.values())
    for word, one, other in zip(("best", "p50"), here, there, strict=True):
        console.print(f"{word}: {other - one:+.1f} ms, {other / one:.2f} times")
    console.print(f"the process: {resident:.0f} MiB of its own, {decoder.start_s:.1f} s to start")


def time_one(data: bytes) -> tuple[float, str]:
    """Return the processor's seconds that decoding takes, and what came of it."""
    start = time.process_time()
    try:
        outcome = "{1} x {0}".format(*decode_here(data).shape)
    except Problem as problem:
        outcome = problem.code
    return time.process_time() - start, outcome


def slow_files() -> Iterator[tuple[str, bytes]]:
    """Yield files of 50 megapixels that no limit refuses, by what they are."""
    yield "JPEG, all the scans that are allowed", many_scans(SIDE)
    picture = noisy(SIDE)
    cmyk = Image.fromarray(picture).convert("CMYK")
    yield "JPEG CMYK, progressive", encode(cmyk, "JPEG", quality=60, progressive=True)
    alpha = Image.fromarray(np.dstack([picture, picture[:, :, :1]]))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "PNG RGBA", encode(alpha, "PNG", compress_level=1)
    yield "PNG RGBA, with a profile", encode(alpha, "PNG", compress_level=1, icc_profile=srgb)
    yield "WebP RGBA, lossless", encode(alpha, "WEBP", lossless=True, method=0, quality=0)
    yield "WebP", encode(Image.fromarray(picture), "WEBP", method=0, quality=60)
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        name = f"TIFF RGBA, {compression.rpartition('_')[2]}"
        yield name, encode(alpha, "TIFF", compression=compression)
    yield "GIF", encode(Image.fromarray(picture[:, :, 0]), "GIF")
    yield "AVIF", encode(Image.fromarray(picture), "AVIF", speed=10, quality=60)


def noisy(side: int) -> Image8:
    """Return `(side, side, 3)`: two levels by chance, which compress to what a body may have."""
    chance = np.random.default_rng(0).integers(0, 2, (side, side), np.uint8)
    return np.repeat(chance[:, :, None] * np.uint8(16) + np.uint8(100), 3, axis=2)


def encode(image: Image.Image, format_name: str, **choices: object) -> bytes:
    """Return `image` as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format_name, **choices)
    return buffer.getvalue()


def many_scans(side: int) -> bytes:
    """Return a gray progressive JPEG whose last scan refines nothing, as often as is allowed.

    A scan that refines looks at every coefficient of every block: of all empty ones, the slowest.
    """
    gray = encode(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last = gray.rindex(b"\xff\xda")  # bits of 1 to 63 that are all 0
    scans = MAX_SCANNED // side**2 - gray.count(b"\xff\xda")
    return gray[:-2] + gray[last:-2] * scans + gray[-2:]


if __name__ == "__main__":
    typer.run(main)
