"""What photos take while they are decoded, against what they are said to weigh, kind by kind.

python -m benchmarks.memory [--megapixels 6] [FILES...]

The constants of `photo2cartoon.pipeline.weight` come from here: a kind whose peak is above its
weight is marked. FILES are measured beside the kinds that are made (no HEIC can be written).
"""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from photo2cartoon.ground.machine import MIB, give_back_memory
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.decode import decode_photo, sniff_format
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.weight import weigh_decoding

EVERY_PIXEL = 10**9
LOADED = 8 * MIB  # what a decoder loads the first time, and bands: part of a drawing's base
FAST = {"compress_level": 1}
DEFLATE = {"compression": "tiff_deflate"}
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG": ("RGB", "JPEG", {}),
    "JPEG progressive 4:2:0": ("RGB", "JPEG", {"progressive": True}),
    "JPEG progressive 4:4:4": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "JPEG gray": ("L", "JPEG", {"progressive": True}),
    "JPEG CMYK": ("CMYK", "JPEG", {}),
    "JPEG CMYK progressive": ("CMYK", "JPEG", {"progressive": True}),
    "PNG RGB": ("RGB", "PNG", FAST),
    "PNG RGBA": ("RGBA", "PNG", FAST),
    "PNG gray": ("L", "PNG", FAST),
    "PNG gray, alpha": ("LA", "PNG", FAST),
    "PNG gray, 16 bits": ("I;16", "PNG", FAST),
    "PNG palette": ("P", "PNG", FAST),
    "PNG palette, alpha": ("P", "PNG", {**FAST, "transparency": bytes(range(64))}),
    "WebP RGB": ("RGB", "WEBP", {"quality": 30, "method": 0}),
    "WebP RGBA": ("RGBA", "WEBP", {"quality": 30, "method": 0}),
    "WebP RGBA lossless": ("RGBA", "WEBP", {"lossless": True, "quality": 0, "method": 0}),
    "AVIF": ("RGB", "AVIF", {"speed": 10}),
    "AVIF 4:4:4": ("RGB", "AVIF", {"speed": 10, "subsampling": "4:4:4"}),
    "AVIF RGBA": ("RGBA", "AVIF", {"speed": 10}),
    "TIFF RGB": ("RGB", "TIFF", DEFLATE),
    "TIFF RGBA": ("RGBA", "TIFF", DEFLATE),
    "TIFF CMYK": ("CMYK", "TIFF", DEFLATE),
    "TIFF gray, 16 bits": ("I;16", "TIFF", DEFLATE),
    "TIFF gray, floats": ("F", "TIFF", DEFLATE),
    "TIFF gray, 32 bits": ("I", "TIFF", DEFLATE),
    "GIF": ("P", "GIF", {}),
    "GIF, transparent": ("P", "GIF", {"transparency": 0}),
    "BMP": ("RGB", "BMP", {}),
}


def main(
    files: Annotated[list[Path] | None, typer.Argument(help="Further photos.")] = None,
    megapixels: Annotated[float, typer.Option(min=1)] = 6,
) -> None:
    """Print one table."""
    Image.MAX_IMAGE_PIXELS = None
    table = Table("photo", "file", "peak", "a pixel", "weight", "")
    height = round(math.sqrt(megapixels * 1e6 / 1.5))
    colours = _soft((round(1.5 * height), height))
    for name, (mode, format_name, parameters) in KINDS.items():
        buffer = io.BytesIO()
        _in_mode(colours, mode).save(buffer, format_name, **parameters)
        table.add_row(name, *_measure(buffer.getvalue()))
    deep = np.asarray(colours).astype(np.float32) / 255
    table.add_row("TIFF RGB, floats", *_measure(cv2.imencode(".tif", deep)[1].tobytes()))
    for file in files or []:
        table.add_row(file.name, *_measure(file.read_bytes()))
    noise = np.random.default_rng(0).integers(0, 256, (height, height, 3), np.uint8)
    for answer in ("png", "jpeg", "webp"):
        peak = _peak(lambda kind=answer: encode_image(noise, kind))  # type: ignore[misc]
        each = f"{peak / height**2:.1f} B"
        table.add_row(f"{answer} of noise, encoded", "", f"{peak / MIB:.0f} MiB", each, "", "")
    Console().print(table)


def _measure(photo: bytes) -> tuple[str, ...]:
    """Return the columns of one photo: file, peak, peak a pixel, weight of its decoding, mark."""
    sizes: list[tuple[int, int]] = []
    peak = _peak(lambda: sizes.append(decode_photo(photo, EVERY_PIXEL).file_size))
    weight, _ = weigh_decoding(photo, sniff_format(photo), math.prod(sizes[0]), Options())
    figures = f"{len(photo) / MIB:.1f} MiB", f"{peak / MIB:.0f} MiB"
    each = f"{peak / math.prod(sizes[0]):.1f} B"
    return (
        *figures,
        each,
        f"{weight / MIB:.0f} MiB",
        "too light" if peak > weight + LOADED else "",
    )


def _peak(work: Callable[[], object]) -> int:
    """Return how much memory `work` takes at most beyond what is held before it, bytes."""
    give_back_memory()
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark starts anew
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(line: str) -> int:
    with Path("/proc/self/status").open() as status:
        return next(int(text.split()[1]) * 1024 for text in status if text.startswith(line))


def _soft(size: tuple[int, int]) -> Image.Image:
    grains = np.random.default_rng(0).integers(0, 256, (size[1] // 50, size[0] // 50, 3), np.uint8)
    return Image.fromarray(grains).resize(size, Image.Resampling.BILINEAR)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode in ("RGBA", "LA"):
        image = image.copy()
        image.putalpha(image.convert("L"))
        return image.convert(mode)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.quantize(64) if mode == "P" else image.convert(mode)


if __name__ == "__main__":
    typer.run(main)
