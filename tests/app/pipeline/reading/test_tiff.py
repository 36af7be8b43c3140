"""Kinds of TIFF, written here tag by tag, against the pixels that were put into them."""

import struct
import zlib
from contextlib import suppress
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon.ground.errors import TooManyPixels, UndecodableImage, UnsupportedFormat
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.reading.profiles import PRIMARIES, make_profile
from photo2cartoon.pipeline.reading.tiff import read_tags

LIMIT = 10**6
Order = Literal["<", ">"]
COLOURS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
GRAY = COLOURS[:, :, :1]
KIND = {"u": 1, "i": 2, "f": 3}


def make_tiff(
    samples: NDArray[Any],
    photometric: int,
    *,
    order: Order = "<",
    big: bool = False,
    tile: int = 0,
    rows: int = 0,
    planes: bool = False,
    deflate: bool = False,
    predictor: int = 1,
    extra: int | None = None,
    more: dict[int, bytes | int] | None = None,
) -> bytes:
    """Write a TIFF of one picture; of the other tags only those that matter."""
    height, width, depth = samples.shape
    data = bytearray(16)
    offsets, sizes = [], []
    high, wide = (tile, tile) if tile else (rows or height, width)
    for part in np.split(samples, depth, axis=2) if planes else [samples]:
        for top in range(0, height, high):
            for left in range(0, width, wide):
                block = part[top : top + high, left : left + wide]
                if tile:
                    down, right = tile - block.shape[0], tile - block.shape[1]
                    block = np.pad(block, ((0, down), (0, right), (0, 0)))
                raw = pack(block, order, predictor)
                raw = zlib.compress(raw) if deflate else raw
                offsets.append(len(data))
                sizes.append(len(raw))
                data += raw
    tags: dict[int, tuple[int, list[int] | bytes]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [samples.dtype.itemsize * 8] * depth),
        259: (3, [8 if deflate else 1]),
        262: (3, [photometric]),
        277: (3, [depth]),
        284: (3, [2 if planes else 1]),
        317: (3, [predictor]),
        339: (3, [KIND[samples.dtype.kind]] * depth),
    }
    if tile:
        tags |= {322: (4, [tile]), 323: (4, [tile]), 324: (4, offsets), 325: (4, sizes)}
    else:
        tags |= {273: (4, offsets), 278: (4, [high]), 279: (4, sizes)}
    if extra is not None:
        tags[338] = (3, [extra])
    for tag, value in (more or {}).items():
        tags[tag] = (7, value) if isinstance(value, bytes) else (3, [value])
    return finish(data, tags, order, big=big)


def pack(block: NDArray[Any], order: Order, predictor: int) -> bytes:
    dtype = block.dtype
    if predictor == 2:
        whole = block.view(f"u{dtype.itemsize}")
        block = np.diff(whole, axis=1, prepend=np.zeros_like(whole[:, :1])).view(dtype)
    if predictor == 3:
        rows, _, depth = block.shape
        parts = block.astype(dtype.newbyteorder(">")).reshape(rows, -1, 1).view(np.uint8)
        parts = parts.transpose(0, 2, 1).reshape(rows, -1, depth)
        return np.diff(parts, axis=1, prepend=np.zeros_like(parts[:, :1])).tobytes()
    return block.astype(dtype.newbyteorder(order)).tobytes()


def finish(
    data: bytearray, tags: dict[int, tuple[int, list[int] | bytes]], order: Order, *, big: bool
) -> bytes:
    number, inline = ("Q", 8) if big else ("L", 4)
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        form = {3: "H", 4: "L"}.get(kind)
        raw = struct.pack(f"{order}{len(values)}{form}", *values) if form else bytes(values)
        if len(raw) > inline:
            place = len(data)
            data += raw
            raw = struct.pack(order + number, place)
        entries += struct.pack(f"{order}HH{number}", tag, kind, len(values)) + raw.ljust(
            inline, b"\0"
        )
    data += bytes(-len(data) % 2)
    start = len(data)
    data += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + bytes(inline)
    name = b"II" if order == "<" else b"MM"
    if big:
        data[:16] = name + struct.pack(order + "HHHQ", 43, 8, 0, start)
    else:
        data[:8] = name + struct.pack(order + "HL", 42, start)
    return bytes(data)


def as_type(samples: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    if dtype.startswith("f"):
        return (samples / 255).astype(dtype)
    return (samples.astype(np.uint64) * {1: 1, 2: 257, 4: 16_843_009}[int(dtype[1])]).astype(dtype)


def check(data: bytes, samples: NDArray[np.uint8], most: int = 1) -> None:
    right = np.broadcast_to(samples, (*samples.shape[:2], 3)).astype(int)
    assert np.abs(decode_image(data, LIMIT) - right).max() <= most


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"order": ">"},
        {"big": True},
        {"big": True, "order": ">"},
        {"rows": 7},
        {"tile": 16},
        {"planes": True},
        {"planes": True, "rows": 7, "order": ">"},
        {"deflate": True, "predictor": 2},
        {"deflate": True, "tile": 16, "predictor": 2, "order": ">"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
def test_colours_are_read_from_every_layout(dtype: str, options: dict[str, Any]) -> None:
    check(make_tiff(as_type(COLOURS, dtype), 2, **options), COLOURS)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_the_predictor_of_floats_is_undone(dtype: str, planes: bool) -> None:
    data = make_tiff(as_type(COLOURS, dtype), 2, deflate=True, predictor=3, planes=planes, rows=5)
    check(data, COLOURS)


@pytest.mark.parametrize("options", [{}, {"order": ">"}, {"big": True}, {"tile": 16}], ids=str)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4", "f8"])
@pytest.mark.parametrize("negative", [False, True], ids=["black is 0", "white is 0"])
def test_gray_and_its_negative_are_read(
    dtype: str, negative: bool, options: dict[str, Any]
) -> None:
    stored = as_type(255 - GRAY if negative else GRAY, dtype)
    check(make_tiff(stored, 0 if negative else 1, **options), GRAY)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_negative_that_lies_on_its_side_is_turned_and_read(dtype: str) -> None:
    data = make_tiff(as_type(255 - GRAY, dtype), 0, more={274: 6})
    check(data, np.rot90(GRAY, -1))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("colours", [1, 3])
def test_alpha_is_laid_on_white(dtype: str, colours: int) -> None:
    alpha = np.full((24, 40, 1), 51, np.uint8)  # a fifth
    picture = COLOURS[:, :, :colours]
    stored = as_type(np.dstack([picture, alpha]), dtype)
    right = (picture * 0.2 + 204).astype(np.uint8)
    check(make_tiff(stored, 2 if colours == 3 else 1, extra=2), right, 2)


def test_a_fourth_channel_that_is_no_alpha_is_left_out() -> None:
    stored = as_type(np.dstack([COLOURS, COLOURS[:, :, 0]]), "f4")
    check(make_tiff(stored, 2, extra=0), COLOURS)


def test_profile_and_orientation_are_applied() -> None:
    flat = np.empty((24, 40, 3), np.uint8)
    flat[:] = (60, 40, 30)
    light = make_profile(PRIMARIES[1], np.linspace(0, 1, 4096))
    pixels = decode_image(make_tiff(as_type(flat, "f4"), 2, more={34675: light, 274: 6}), LIMIT)
    assert pixels.shape == (40, 24, 3)
    assert np.abs(pixels[20, 12].astype(int) - (133, 110, 96)).max() <= 2


def test_floats_that_overshoot_are_clipped_and_do_not_darken_the_picture() -> None:
    stored = as_type(COLOURS, "f4")
    stored[0, 0] = (1.4, -0.2, np.nan)
    stored[0, 1] = (0.0, 0.0, 0.0)
    stored.view(np.uint32)[0, 1, 2] = 0x7F800001  # a NaN that signals: no warning of it is logged
    found = decode_image(make_tiff(stored, 2), LIMIT)
    assert found[0, :2].tolist() == [[255, 0, 0], [0, 0, 0]]
    assert np.abs(found[1:].astype(int) - COLOURS[1:]).max() <= 1


@pytest.mark.parametrize("kind", ["3 bits", "other colours", "other packing"])
def test_other_kinds_are_refused_and_it_is_said_which_are_read(kind: str) -> None:
    more: dict[str, dict[int, bytes | int]] = {
        "3 bits": {258: 3},
        "other colours": {262: 32844},
        "other packing": {259: 50002},
    }
    with pytest.raises(UnsupportedFormat, match="kind of TIFF"):
        decode_image(make_tiff(as_type(COLOURS, "f4"), 2, more=more[kind]), LIMIT)


def test_the_limits_hold_for_these_kinds_too() -> None:
    data = make_tiff(as_type(COLOURS, "f4"), 2, deflate=True)
    with pytest.raises(TooManyPixels):
        decode_image(data, 24 * 40 - 1)
    plain = make_tiff(as_type(COLOURS, "f4"), 2)
    wider = plain.replace(struct.pack("<HHLL", 257, 4, 1, 24), struct.pack("<HHLL", 257, 4, 1, 200))
    with pytest.raises(UndecodableImage):
        decode_image(wider, LIMIT)


@pytest.mark.parametrize("side", [256, 257], ids=["width", "height"])
def test_a_picture_without_a_pixel_is_refused_at_once(side: int) -> None:
    """The other side is 2^32 - 1: no pixel, but 268 million rows of tiles took half a minute."""
    data = make_tiff(as_type(COLOURS, "f4"), 2, deflate=True, predictor=3, tile=16)
    for tag in (256, 257):
        entry = data.index(struct.pack("<HHL", tag, 4, 1))
        value = struct.pack("<L", 0 if tag == side else 2**32 - 1)
        data = data[: entry + 8] + value + data[entry + 12 :]
    with pytest.raises(UndecodableImage):
        decode_image(data, LIMIT)


@pytest.mark.filterwarnings("ignore")  # what Pillow says of damaged TIFF
def test_damaged_files_raise_nothing_but_a_problem() -> None:
    rng = np.random.default_rng(1)
    data = make_tiff(as_type(COLOURS, "f4"), 2, deflate=True, predictor=3, tile=16)
    drawn = 0
    for _ in range(500):
        damaged = bytearray(data)
        for place in rng.integers(len(data) - 250, len(data), 2):
            damaged[place] = rng.integers(0, 256)
        try:
            decode_image(bytes(damaged), LIMIT)
            drawn += 1
        except (UndecodableImage, UnsupportedFormat, TooManyPixels):
            pass
    assert 0 < drawn < 500


@pytest.mark.filterwarnings("ignore")  # what Pillow says of damaged TIFF
@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 - 1])
def test_no_number_of_bigtiff_is_too_large_to_be_refused(number: int) -> None:
    """An offset of 2^63 is more than `struct` takes: it came out as a 500."""
    data = make_tiff(as_type(COLOURS, "f4"), 2, order=">", big=True, deflate=True)
    tags = int.from_bytes(data[8:16], "big")
    for place in (8, *range(tags, len(data) - 8)):
        damaged = data[:place] + number.to_bytes(8, "big") + data[place + 8 :]
        with suppress(UndecodableImage, UnsupportedFormat, TooManyPixels):
            decode_image(damaged, LIMIT)
    with pytest.raises(UndecodableImage):
        decode_image(data[:8] + number.to_bytes(8, "big") + data[16:], LIMIT)


@pytest.mark.parametrize(
    "compression", [1, 5, 8, 32773], ids=["none", "LZW", "deflate", "PackBits"]
)
@pytest.mark.parametrize("depth", [3, 4])
def test_colours_that_another_program_packed_are_read(compression: int, depth: int) -> None:
    stored = as_type(np.dstack([COLOURS, np.full((24, 40), 255, np.uint8)])[:, :, :depth], "f4")
    stored[:, :, :3] = stored[:, :, 2::-1].copy()  # OpenCV's order is BGR
    done, data = cv2.imencode(".tiff", stored, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert done
    tags = read_tags(data.tobytes())
    assert tags.one(259) == compression
    check(data.tobytes(), COLOURS)
