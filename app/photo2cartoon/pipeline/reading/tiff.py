"""The kinds of TIFF that Pillow does not read: deep samples of any type, in strips or tiles.

TIFF is a container for everything. Pillow reads 8-bit pictures of all kinds and 16-bit colour; what
is left is colour as 32-bit numbers, floats of any width, gray with alpha or as a negative in 16
bits, deep planes, and BigTIFF written by big-endian machines. Samples stored plainly or deflated
are read here, with numpy; those that are packed otherwise, OpenCV unpacks.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photo2cartoon.ground.errors import TooManyPixels, UnsupportedFormat
from photo2cartoon.pipeline.reading.srgb import scale_levels

Samples = NDArray[np.generic]
Order = Literal["<", ">"]

READ: Final = (
    "This kind of TIFF is not read. Gray and RGB are, with or without alpha, in 8, 16 or 32 bits "
    "or as floats; uncompressed, deflated or LZW. 8-bit CMYK, Lab, YCbCr and palettes are, too."
)
# Tags: their names, and what holds where they are left out.
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_SIZES, PLANES, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES, EXTRA, TYPE = 322, 323, 324, 325, 338, 339
ORIENTATION, PROFILE = 274, 34675
KINDS: Final = {1: "B", 2: "c", 3: "H", 4: "L", 6: "b", 7: "c", 8: "h", 9: "l", 13: "L", 16: "Q"}
TYPES: Final = {1: "u", 2: "i", 3: "f"}
DTYPES: Final = ("u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8")
DEFLATE: Final = (8, 32946)
BIG_BIG_ENDIAN: Final = b"MM\0+"
MAX_ENTRIES = 1 << 20  # values of one tag: more segments than any photo has


@dataclass(slots=True)
class Tags:
    """The tags of a file's first picture."""

    values: dict[int, tuple[Any, ...]]
    order: Order

    def one(self, tag: int, default: int = 0) -> int:
        """Return a tag's first number."""
        return int(self.values.get(tag, (default,))[0])


def is_misread(data: bytes) -> bool:
    """Tell whether Pillow reads a TIFF wrongly: big-endian BigTIFF, or deep planes."""
    if data.startswith(BIG_BIG_ENDIAN):
        return True
    try:
        tags = read_tags(data)
        return tags.one(PLANES, 1) == 2 and tags.one(BITS, 1) > 8
    except (struct.error, ValueError):  # a decoder will say what is wrong with it
        return False


def open_tiff(data: bytes, max_pixels: int) -> Image.Image:
    """Open a TIFF of a kind that Pillow does not read, and decode it.

    Raises:
        TooManyPixels: it has more than `max_pixels`.
        UnsupportedFormat: nor is it read here; the message says which TIFFs are.
        ValueError, struct.error, zlib.error: it is damaged or incomplete.
    """
    tags = read_tags(data)
    width, height, channels = tags.one(WIDTH), tags.one(HEIGHT), tags.one(SAMPLES, 1)
    if width * height > max_pixels:
        raise TooManyPixels
    if min(width, height) < 1:
        raise ValueError("a picture without a pixel")
    dtype = f"{TYPES.get(tags.one(TYPE, 1), '')}{tags.one(BITS, 1) / 8:g}"
    photometric = tags.one(PHOTOMETRIC)
    gray = photometric in (0, 1)
    colours = 1 if gray else 3
    readable = dtype in DTYPES and photometric in (0, 1, 2) and colours <= channels <= colours + 1
    if not readable or len(set(tags.values.get(BITS, ()))) > 1:
        raise UnsupportedFormat(READ)
    if tags.one(COMPRESSION, 1) in (1, *DEFLATE):
        samples = _read_segments(data, tags, np.dtype(dtype), (height, width, channels))
    else:
        samples = _unpack_by_opencv(data, tags, (height, width, channels))
    alpha = samples[:, :, colours:] if tags.one(EXTRA) in (1, 2) else samples[:, :, :0]
    image = _to_image(samples[:, :, :colours], alpha, negative=photometric == 0)
    if tags.one(EXTRA) == 1 and image.mode == "RGBA":  # its colours are multiplied by alpha
        image = Image.frombytes("RGBa", image.size, image.tobytes())
    if PROFILE in tags.values:
        image.info["icc_profile"] = b"".join(tags.values[PROFILE])
    image.getexif()[ORIENTATION] = tags.one(ORIENTATION, 1)
    return image


def read_tags(data: bytes) -> Tags:
    """Read the tags of the first picture, of TIFF and BigTIFF in both byte orders.

    Raises:
        ValueError, struct.error: the file ends before they do.
    """
    order: Order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    count, number = ("Q", "Q") if big else ("H", "L")
    start = struct.unpack_from(order + number, data, 8 if big else 4)[0]
    entries = min(_unpack_at(order + count, data, start)[0], 4096)
    entry = struct.Struct(f"{order}HH{number}{8 if big else 4}s")
    values: dict[int, tuple[Any, ...]] = {}
    for k in range(entries):
        place = start + struct.calcsize(order + count) + k * entry.size
        tag, kind, length, inline = entry.unpack_from(data, place)
        if kind not in KINDS or (length > MAX_ENTRIES and tag != PROFILE):
            continue
        form = f"{order}{length}{KINDS[kind]}"
        if struct.calcsize(form) <= len(inline):
            values[tag] = struct.unpack_from(form, inline)
        else:
            values[tag] = _unpack_at(form, data, struct.unpack(order + number, inline)[0])
    return Tags({tag: value for tag, value in values.items() if value}, order)


def _unpack_at(form: str, data: bytes, place: int) -> tuple[Any, ...]:
    """As `struct.unpack_from`, which gives an OverflowError for BigTIFF's largest offsets."""
    if place > len(data):
        raise ValueError("an offset beyond the file")
    return struct.unpack_from(form, data, place)


def _read_segments(
    data: bytes, tags: Tags, dtype: np.dtype[Any], shape: tuple[int, int, int]
) -> Samples:
    """Read strips or tiles, stored plainly or deflated, into `(H, W, channels)`."""
    height, width, channels = shape
    tiled = TILE_OFFSETS in tags.values
    rows = tags.one(TILE_HEIGHT) if tiled else min(tags.one(STRIP_ROWS, height), height)
    columns = tags.one(TILE_WIDTH) if tiled else width
    if min(rows, columns) < 1 or rows * columns > 4 * max(height * width, 1 << 20):
        raise ValueError("segments of an impossible size")
    planes = tags.one(PLANES, 1) == 2
    depth = 1 if planes else channels
    count = -(-height // rows) * -(-width // columns) * (channels if planes else 1)
    if count > MAX_ENTRIES:
        raise ValueError("more segments than a file may list")
    samples = np.zeros(shape, dtype)
    places = [
        (slice(top, top + rows), slice(left, left + columns), channel)
        for channel in (range(channels) if planes else (slice(None),))
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]
    predictor = tags.one(PREDICTOR, 1)
    segments = _segments(data, tags, tiled, rows * columns * depth * dtype.itemsize)
    for place, segment in zip(places, segments, strict=True):
        target = samples[place[0], place[1]]
        full = rows if tiled else target.shape[0]
        needed = full * columns * depth * dtype.itemsize
        if len(segment) < needed:
            raise ValueError("the file ends before its picture")
        block = _undo_predictor(
            segment[:needed], (full, columns, depth), dtype, tags.order, predictor
        )
        block = block[: target.shape[0], : target.shape[1]]
        samples[place] = block[:, :, 0] if planes else block
    return samples


def _segments(data: bytes, tags: Tags, tiled: bool, most: int) -> Iterator[bytes]:
    offsets = tags.values[TILE_OFFSETS if tiled else STRIP_OFFSETS]
    sizes = tags.values[TILE_SIZES if tiled else STRIP_SIZES]
    deflated = tags.one(COMPRESSION, 1) in DEFLATE
    for offset, size in zip(offsets, sizes, strict=True):
        packed = data[offset : offset + size]
        yield zlib.decompressobj().decompress(packed, most) if deflated else packed


def _undo_predictor(
    segment: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], order: Order, predictor: int
) -> Samples:
    if predictor == 3:  # floats: bytes by significance, and of those the differences
        rows, _, depth = shape
        parts = np.frombuffer(segment, np.uint8).reshape(rows, -1, depth)
        parts = np.cumsum(parts, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, -1)
        block = np.ascontiguousarray(parts.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
        return block.reshape(shape).astype(dtype)
    block = np.frombuffer(segment, dtype.newbyteorder(order)).reshape(shape).astype(dtype)
    if predictor == 2:  # differences of whole numbers, whatever they stand for
        whole = np.dtype(f"u{dtype.itemsize}")
        block = np.cumsum(block.view(whole), axis=1, dtype=whole).view(dtype)
    return block


def _unpack_by_opencv(data: bytes, tags: Tags, shape: tuple[int, int, int]) -> Samples:
    """Let OpenCV unpack what is not deflated; it mixes up planes, and turns by the orientation."""
    if tags.one(PLANES, 1) == 2 or (tags.one(TYPE, 1) == 3 and tags.one(BITS) == 16):
        raise UnsupportedFormat(READ)
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if samples is None or samples.reshape(*samples.shape[:2], -1).shape != shape:
        raise UnsupportedFormat(READ)
    samples = samples.reshape(shape)
    if shape[2] >= 3:
        samples[:, :, :3] = samples[:, :, 2::-1].copy()  # OpenCV's order is BGR
    return samples


def _to_image(colours: Samples, alpha: Samples, *, negative: bool) -> Image.Image:
    """Return 16-bit gray, for the sake of profiles, or 8-bit colour or gray with alpha."""
    gray = colours.shape[2] == 1
    white = 65535 if gray and not alpha.size else 255
    levels = scale_levels(colours, white)
    if negative:
        levels = (white - levels).astype(np.uint16)
    if white == 65535:
        return Image.fromarray(levels[:, :, 0])
    bands = [levels[:, :, k] for k in range(levels.shape[2])]
    if alpha.size:
        bands.append(scale_levels(alpha, 255)[:, :, 0])
    images = [Image.fromarray(band.astype(np.uint8)) for band in bands]
    return Image.merge({2: "LA", 3: "RGB", 4: "RGBA"}[len(images)], images)
