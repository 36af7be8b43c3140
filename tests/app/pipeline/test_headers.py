"""Files that ask for more than they are worth are refused before a decoder sees them."""

import contextlib
import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photo2cartoon.ground.errors import Problem, TooManyPixels, UndecodableImage
from photo2cartoon.pipeline import decode, headers
from photo2cartoon.pipeline.decode import decode_photo
from photo2cartoon.pipeline.headers import MAX_SCANS, MAX_SEGMENTS, check_header

MAX_PIXELS = 50_000_000


def _file(format_name: str, **parameters: Any) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (96, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format_name, **parameters)
    return buffer.getvalue()


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _with_scans(count: int) -> bytes:
    """A gray JPEG of 8 x 8 px: one scan of DC values, and `count` - 1 that refine nothing."""
    tables = _segment(0xDB, bytes([0] + [1] * 64))
    frame = _segment(0xC2, struct.pack(">BHHB", 8, 8, 8, 1) + bytes([1, 0x11, 0]))
    codes = [_segment(0xC4, bytes([kind, 1, *[0] * 15, 0])) for kind in (0x00, 0x10)]
    first = _segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + b"\x7f"
    empty = _segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + b"\x7f"
    parts = (b"\xff\xd8", tables, frame, *codes, first, empty * (count - 1), b"\xff\xd9")
    return b"".join(parts)


def _after_start(inserted: bytes) -> bytes:
    jpeg = _file("JPEG")
    return jpeg[:2] + inserted + jpeg[2:]


@pytest.mark.parametrize(
    "data",
    [
        _file("JPEG"),
        _file("JPEG", progressive=True, quality=95),
        _file("JPEG", restart_marker_blocks=1),
        _with_scans(MAX_SCANS),
        _after_start(_segment(0xFE, b"a comment") * (MAX_SEGMENTS - 50)),
        _after_start(b"\xff" * 10_000),
        _after_start(_segment(0xFE, b"") + bytes(10_000)),
    ],
    ids=["baseline", "progressive", "restarts", "scans", "segments", "fill", "junk"],
)
def test_a_jpeg_within_the_bounds_is_decoded(data: bytes) -> None:
    assert decode_photo(data, MAX_PIXELS).pixels.size > 0


@pytest.mark.parametrize(
    "data",
    [
        _with_scans(MAX_SCANS + 1),
        _after_start(_segment(0xFE, b"") * MAX_SEGMENTS),
        _after_start(b"\xff" * 1_000_000),
        _after_start(_segment(0xFE, b"") + bytes(1_000_000)),
        _after_start(b"\xff\xd0" * MAX_SEGMENTS),
        b"\xff\xd8\xff" + bytes(1_000_000),
    ],
    ids=["scans", "segments", "fill", "junk", "restarts", "no scan"],
)
def test_a_jpeg_that_keeps_a_decoder_busy_is_refused(data: bytes) -> None:
    with pytest.raises(UndecodableImage, match="this service") as refusal:
        check_header(data, "JPEG", MAX_PIXELS)
    assert refusal.value.detail != UndecodableImage.default_detail


def _riff(kind: bytes, content: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def _lossless(width: int, height: int) -> bytes:
    """A file of one colour, as the encoder writes it, with another size in its header."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(buffer, "WEBP", lossless=True)
    data = buffer.getvalue()
    bits = int.from_bytes(data[21:25], "little") >> 28 << 28 | (width - 1) | (height - 1) << 14
    return data[:21] + struct.pack("<I", bits) + data[25:]


def _extended(width: int, height: int) -> bytes:
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return _riff(b"VP8X", b"\x02\0\0\0" + sides)


def _lossy(width: int, height: int) -> bytes:
    return _riff(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(20))


@pytest.mark.parametrize("make", [_lossless, _extended, _lossy])
def test_a_webp_canvas_is_measured_before_it_is_allocated(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("a decoder saw the file")

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(TooManyPixels):
        decode_photo(make(16_383, 16_383), MAX_PIXELS)
    with pytest.raises(TooManyPixels):
        decode_photo(make(8_000, 8_000), 8_000 * 8_000 - 1)
    long_enough = make(8_000, 8_000) + bytes(6_400)
    assert check_header(long_enough, "WEBP", 8_000 * 8_000) == 8_000 * 8_000


@pytest.mark.parametrize("make", [_lossless, _extended, _lossy])
def test_a_few_bytes_never_cost_millions_of_pixels(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("a decoder saw the file"))
    with pytest.raises(UndecodableImage, match="too short"):
        decode_photo(make(7_071, 7_071), MAX_PIXELS)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_the_size_is_known_before_the_decoder_looks(format_name: str) -> None:
    assert check_header(_file(format_name), format_name, MAX_PIXELS) == 96 * 64


def test_a_gif_that_reaches_beyond_its_canvas_is_measured_in_full() -> None:
    data = bytearray(_file("GIF"))
    data[6:10] = struct.pack("<HH", 8, 8)
    assert check_header(bytes(data), "GIF", MAX_PIXELS) == 96 * 64


def test_no_decoder_finds_more_pixels_than_were_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "check_header", lambda *_: 96 * 64 - 1)
    with pytest.raises(TooManyPixels):
        decode_photo(_file("PNG"), MAX_PIXELS)


@pytest.mark.parametrize("format_name", ["JPEG", "WEBP"])
def test_a_cut_file_is_no_bug(format_name: str) -> None:
    data = _file(format_name)
    for length in range(16, 200):
        with pytest.raises(Problem):
            decode_photo(data[:length], MAX_PIXELS)
    assert check_header(data, format_name, MAX_PIXELS) == 96 * 64


def test_scans_are_counted_against_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _with_scans(20)
    assert check_header(data, "JPEG", MAX_PIXELS) == 64
    monkeypatch.setattr(headers, "MAX_SCANNED", 19 * 64)
    with pytest.raises(UndecodableImage, match="scans"):
        check_header(data, "JPEG", MAX_PIXELS)


def test_only_the_scans_of_the_picture_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what stands in a profile or a preview by chance, nor in a second picture behind it."""
    monkeypatch.setattr(headers, "MAX_SCANNED", 20 * 64)
    data = _with_scans(20)
    preview = _segment(0xE1, b"Exif" + b"\xff\xda" * 30)
    for file in (data, data[:2] + preview + data[2:], data + data):
        assert check_header(file, "JPEG", MAX_PIXELS) == 64
        assert decode_photo(file, MAX_PIXELS).size == (8, 8)
    hidden = _with_scans(21)
    for file in (hidden, hidden[:2] + preview + hidden[2:]):
        with pytest.raises(UndecodableImage, match="scans"):
            check_header(file, "JPEG", MAX_PIXELS)
    # Restart markers and fill bytes before a scan do not hide it.
    for before in (b"\xff", b"\xff\xd0", b"\xff\x01", _segment(0xFE, b"a comment")):
        place = data.rindex(b"\xff\xda")
        scan = data[place:-2]
        with pytest.raises(UndecodableImage, match="scans"):
            check_header(data[:-2] + before + scan + data[-2:], "JPEG", MAX_PIXELS)


def test_segments_between_scans_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "MAX_SCANNED", 20 * 64)
    data = _with_scans(20)
    preview = _segment(0xE1, b"\xff\xda")  # more pairs than scans: they are walked over
    many = _segment(0xFE, b"") * (MAX_SEGMENTS + 100)
    with pytest.raises(UndecodableImage, match="scans"):
        check_header(data[:2] + preview + data[2:-2] + many + data[-2:], "JPEG", MAX_PIXELS)


def test_a_cut_file_of_many_scans_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completing a JPEG takes three more decodings."""
    decoded: list[bytes] = []
    load = decode._decode

    def note(data: bytes, *given: Any) -> decode.DecodedPhoto:
        decoded.append(data)
        return load(data, *given)

    monkeypatch.setattr(decode, "_decode", note)
    monkeypatch.setattr(headers, "MAX_SCANNED", 20 * 64)
    for scans, times in ((10, 4), (11, 1)):
        decoded.clear()
        with contextlib.suppress(UndecodableImage):
            decode_photo(_with_scans(scans)[:-3], MAX_PIXELS)
        assert len(decoded) == times


def test_runs_of_fill_bytes_take_no_more_time_than_others() -> None:
    """They took the square of their length: three quarters of a minute for 64 KB, of the loop."""
    run = b"\xff" * 65_535 + b"\0"
    with pytest.raises(UndecodableImage, match="this service"):
        check_header(b"\xff\xd8" + run * 300, "JPEG", MAX_PIXELS)
    data = _with_scans(20)
    place = data.index(b"\xff\xda")
    file = data[:place] + b"\xff\xda" + data[place + 2 : -2] + run * 300 + data[-2:]
    assert check_header(file, "JPEG", MAX_PIXELS) == 64


def test_fill_bytes_are_refused_wherever_they_stand() -> None:
    data = _file("JPEG", progressive=True)
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    with pytest.raises(UndecodableImage, match="fill bytes"):
        check_header(data[:second] + b"\xff" * 70_000 + data[second:], "JPEG", MAX_PIXELS)


def test_a_tile_is_measured_like_a_picture() -> None:
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 40_000, 323: 40_000, 324: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    with pytest.raises(TooManyPixels):
        check_header(data, "TIFF", MAX_PIXELS)


def test_a_png_of_a_million_chunks_is_refused() -> None:
    empty = b"\0\0\0\0tEXt\0\0\0\0"
    data = _file("PNG")
    with pytest.raises(UndecodableImage, match="chunks"):
        decode_photo(data[:33] + empty * 1_000_000 + data[33:], MAX_PIXELS)
    assert decode_photo(data[:33] + empty * 10_000 + data[33:], MAX_PIXELS).size == (64, 96)
