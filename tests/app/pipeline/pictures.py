"""Pictures whose every pixel is known, and a header that promises too many."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def corners(width: int = 64, height: int = 48) -> Image.Image:
    """Red, green, blue, white in the four quarters, in reading order."""
    image = Image.new("RGB", (width, height))
    for k, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]):
        image.paste(colour, (k % 2 * width // 2, k // 2 * height // 2, width, height))
    image.paste((0, 0, 255), (0, height // 2, width // 2, height))
    return image


def quarters(pixels: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    height, width = pixels.shape[:2]
    places = [(y, x) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    return [tuple(np.round(pixels[place] / 255).astype(int) * 255) for place in places]


def chunk(name: bytes, content: bytes, *, sound: bool = True) -> bytes:
    checksum = zlib.crc32(name + content) if sound else 0xABCD
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises a picture of this size; its data is one byte."""

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(1))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def dots(photo: bytes) -> bytes:
    """A photo in black and white dots, PNG: its face is found, and no person around it."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo)).convert("1").save(buffer, "PNG")
    return buffer.getvalue()
