"""What is coded inside an AVIF or a HEIC counts, not what its boxes say."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photo2cartoon.ground.errors import TooManyPixels, UndecodableImage
from photo2cartoon.pipeline.coded_size import MAX_PARTS, coded_sizes
from photo2cartoon.pipeline.decode import decode_photo
from tests.places import ROOT

HEIC = (ROOT / "tests" / "data" / "corners.heic").read_bytes()


def _avif(width: int, height: int, mode: str = "RGB", **parameters: Any) -> bytes:
    channels = {"RGB": 3, "RGBA": 4}[mode]
    noise = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "AVIF", speed=10, **parameters)
    return buffer.getvalue()


ANIMATION: dict[str, Any] = {"save_all": True, "append_images": [Image.new("RGB", (320, 200))]}


def _saying(data: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its boxes."""
    changed, place = bytearray(data), 0
    while (place := changed.find(b"ispe", place)) >= 0:
        changed[place + 8 : place + 16] = struct.pack(">II", width, height)
        place += 4
    return bytes(changed)


def _sizes(data: bytes) -> set[tuple[int, int]]:
    return set(coded_sizes(data)) - {(0, 0)}


@pytest.mark.parametrize(
    "data",
    [_avif(320, 200), _avif(320, 200, "RGBA"), _avif(320, 200, **ANIMATION)],
    ids=["AVIF", "with alpha", "animation"],
)
def test_the_coded_size_of_an_avif_is_found(data: bytes) -> None:
    assert _sizes(data) == {(320, 200)}
    lying = _saying(data, 64, 32)
    assert _sizes(lying) == {(320, 200), (64, 32)}
    assert decode_photo(data, 320 * 200).size == (320, 200)
    with pytest.raises(TooManyPixels):
        decode_photo(lying, 320 * 200 - 1)


def test_the_coded_size_of_a_heic_is_found() -> None:
    stated = decode_photo(HEIC, 10**6).file_size
    coded = max(_sizes(_saying(HEIC, 1, 1)))
    assert coded[0] >= stated[0]
    assert coded[1] >= stated[1]
    with pytest.raises(TooManyPixels):
        decode_photo(_saying(HEIC, 1, 1), coded[0] * coded[1] - 1)


def test_no_decoder_sees_a_file_that_codes_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _saying(_avif(320, 200), 64, 32)

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("a decoder saw the file")

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(TooManyPixels):
        decode_photo(data, 320 * 200 - 1)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


FTYP = _box(b"ftyp", b"avif\0\0\0\0avif")


def _nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = _box(b"moov", content)
    return content


def _with_items(iloc: bytes, coded: bytes = b"") -> bytes:
    """An AVIF of one AV1 item, whose place is told by the content of an `iloc` box."""
    item = _box(b"infe", b"\2\0\0\0" + struct.pack(">HH", 1, 0) + b"av01\0")
    items = _box(b"iinf", bytes(4) + struct.pack(">H", 1) + item)
    meta = _box(b"meta", bytes(4) + items + _box(b"iloc", iloc) + _box(b"idat", coded))
    return FTYP + meta


def _one_item(extents: int) -> bytes:
    """In `idat`: as many places as asked for, each the whole of it, and without a byte to tell."""
    return b"\1\0\0\0" + struct.pack(">HHHHHH", 0, 1, 1, 1, 0, extents)


SEQUENCE = bytes([1 << 3 | 2, 4]) + struct.pack(">I", 0b000_1_1_00000_1111_1111 << 15)


@pytest.mark.parametrize(
    "data",
    [
        FTYP + _box(b"mdat", b"") * (MAX_PARTS + 1),
        _with_items(_one_item(1), b"\x12\0" * (MAX_PARTS + 1)),
        _with_items(_one_item(MAX_PARTS)),
        _with_items(_one_item(1_000), bytes(10_000)),
        _with_items(_one_item(1), SEQUENCE),
        _with_items(b"\1\0\0\0" + struct.pack(">HH", 0x4400, 60_000)),
        _with_items(b""),
        FTYP + _box(b"meta", bytes(4) + b"\xff\xff\xff\xffispe" * 9) + _box(b"free", b""),
        FTYP + _nested(2_000),
    ],
    ids=[
        "boxes",
        "units",
        "places",
        "shared",
        "cut header",
        "cut places",
        "none",
        "outside",
        "nested",
    ],
)
def test_boxes_that_keep_a_reader_busy_or_are_damaged_are_refused(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        list(coded_sizes(data))
    with pytest.raises(UndecodableImage):
        decode_photo(data, 10**6)


@pytest.mark.parametrize("data", [_avif(64, 64), HEIC], ids=["AVIF", "HEIC"])
def test_damaged_files_are_no_bug(data: bytes) -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        for place in random.integers(12, min(len(data), 800), 4):
            changed[place] = random.integers(256)
        try:
            decode_photo(bytes(changed), 10**6)
        except (UndecodableImage, TooManyPixels):
            continue
