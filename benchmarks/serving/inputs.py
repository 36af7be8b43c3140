"""What the soak sends: good photos of many sizes and kinds, and every kind of bad one."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from benchmarks.serving.load import Photo

JPEG_LONG_SIDES = (400, 640, 1024, 1600, 2400, 4000)  # px; 4000 x 3000 is 12 MP
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Input:
    """A photo and the answer it must get: 200 and a picture, or a status and a problem's code."""

    name: str
    photo: Photo
    status: int = 200
    code: str = ""


def good_inputs(photo: bytes) -> list[Input]:
    """The photo in sizes from 400 px to 12 MP, in other formats, and turned by EXIF."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    scene = ImageOps.pad(image, (image.width * 4 // 3, image.height), color="gray")
    found = []
    for long_side in JPEG_LONG_SIDES:
        sized = scene.resize((long_side, long_side * 3 // 4), Image.Resampling.BICUBIC)
        found.append(Input(f"JPEG {long_side} px", Photo(save(sized, "JPEG", quality=90))))
    found.append(Input("progressive", Photo(save(scene, "JPEG", quality=90, progressive=True))))
    found.append(Input("PNG", Photo(save(image, "PNG"), "image/png")))
    found.append(Input("WebP", Photo(save(image, "WEBP", quality=90), "image/webp")))
    for orientation in (3, 6, 8):
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        turned = save(turn_back(image, orientation), "JPEG", quality=90, exif=exif)
        found.append(Input(f"EXIF {orientation}", Photo(turned)))
    return found


def bad_inputs(photo: bytes) -> list[Input]:
    """Each way for a request to be wrong, with the code it must be answered with."""
    plain = save(Image.new("RGB", (640, 480), "gray"), "JPEG")
    return [
        Input("truncated", Photo(photo[: len(photo) // 2]), 422, "undecodable_image"),
        Input("text", Photo(b"no picture at all\n" * 50), 415, "unsupported_format"),
        Input("no face", Photo(plain), 422, "no_face"),
        Input("bomb", Photo(bomb(), "image/png"), 413, "too_many_pixels"),
        Input("empty", Photo(b""), 400, "photo_missing"),
        Input("wrong type", Photo(photo, "text/plain"), 415, "unsupported_format"),
    ]


def mix(good: list[Input], bad: list[Input], bad_share: float, count: int, seed: int) -> list[int]:
    """`count` places in `good + bad`, in random order; `bad_share` of them bad."""
    rng = np.random.default_rng(seed)
    bad_count = round(count * bad_share)
    chosen = [k % len(good) for k in range(count - bad_count)]
    chosen += [len(good) + k % len(bad) for k in range(bad_count)]
    order: list[int] = rng.permutation(chosen).tolist()
    return order


def save(image: Image.Image, image_format: str, **options: object) -> bytes:
    """An encoded picture."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def turn_back(image: Image.Image, orientation: int) -> Image.Image:
    """Store `image` so that EXIF `orientation` (3, 6 or 8) turns it upright."""
    degrees = {3: 180, 6: 90, 8: 270}[orientation]
    return image.rotate(degrees, expand=True)


def bomb(side: int = 40_000) -> bytes:
    """A PNG of a few bytes whose header promises `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
