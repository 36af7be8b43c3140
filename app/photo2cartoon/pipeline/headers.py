"""Headers: what a decoder would have to do, told from the file's bytes before a decoder sees them.

Decoders believe a header: some take the memory that it asks for as soon as the file is opened, and
a JPEG of a few hundred kilobytes can ask for minutes of work. The checks take time in proportion to
the file's length, well below a millisecond for an ordinary photo.
"""

import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from photo2cartoon.ground.errors import TooManyPixels, UndecodableImage
from photo2cartoon.pipeline.coded_size import coded_sizes
from photo2cartoon.pipeline.reading.png import png_sizes
from photo2cartoon.pipeline.reading.tiff import HEIGHT, TILE_HEIGHT, TILE_WIDTH, WIDTH, read_tags

# What reading a damaged header raises: a number of the file that is too large overflows an index.
DAMAGED: Final = (ValueError, IndexError, OverflowError, struct.error)
MAX_SCANS: Final = 500  # a progressive JPEG has about ten; each may cost as much as the whole photo
# Pixels of all scans: 20 of 50 MP. An empty one that refines looks at every coefficient (48 ms).
MAX_SCANNED: Final = 1_000_000_000
FILL: Final = b"\xff" * 65_536  # decoders pass over such bytes slowly, one by one
MAX_SEGMENTS: Final = 1_000  # before the first scan; 20 MB of the largest segments are 306
# A file of a photo has at least a byte for so many pixels: 50 MP take 5 kB. One that has fewer is a
# single colour, and made to have a decoder take memory and time for nothing.
PIXELS_PER_BYTE: Final = 10_000
MAX_JUNK: Final = 65_536  # bytes before the first scan that belong to no segment
# One byte FF: with `\xff+` a search would take the square of the length of a run of them.
MARKER: Final = re.compile(rb"\xff([\x01-\xfe])")
SEGMENT: Final = re.compile(rb"\xff([\x01-\xcf\xd9-\xfe])")  # no restart: those stand in scans
SCAN: Final = b"\xda"
END: Final = b"\xd9"
SEQUENTIAL: Final = (b"\xc0", b"\xc1")  # frames that need one scan; others come in several
FRAMES: Final = (*SEQUENTIAL, b"\xc2", b"\xc9", b"\xca")
FRAME_HEAD: Final = 9  # bytes: marker, length, depth, height, width, number of channels
OLDEST_BMP: Final = 12  # bytes of the header that has 16 bits for a side
GIF_EXTENSION: Final = 0x21
WITHOUT_LENGTH: Final = (b"\x01", *(bytes([marker]) for marker in range(0xD0, 0xDA)))


def check_header(data: bytes, format_name: str, max_pixels: int) -> int:
    """Refuse a file whose decoding would cost more than its size and pixels allow.

    Args:
        data: the file.
        format_name: what `sniff_format` says it is.
        max_pixels: most pixels, by the header.

    Returns:
        How many pixels the file says it has, in its largest picture; `max_pixels` if that is not
        known: of a header that is read by the decoder alone.

    Raises:
        TooManyPixels: the header asks for more than `max_pixels`, or a picture inside has more.
        UndecodableImage: a JPEG has too many scans, segments or bytes between them, the boxes of an
            AVIF or a HEIC are damaged, or the file is too short for any photo of its size.
    """
    if format_name == "JPEG":
        _check_jpeg(data)
    try:
        sizes = [width * height for width, height in _sizes(data, format_name)]
    except DAMAGED as error:
        if format_name in ("AVIF", "HEIF"):
            raise UndecodableImage from error
        return max_pixels
    pixels = max(sizes, default=0) or max_pixels
    if pixels > max_pixels:
        raise TooManyPixels
    if pixels > PIXELS_PER_BYTE * len(data):
        raise UndecodableImage("The file is too short for a photo of its size.")
    return pixels


def _sizes(data: bytes, format_name: str) -> Iterable[tuple[int, int]]:
    """Return every width and height that a file states, px.

    Raises:
        DAMAGED: the header is.
    """
    match format_name:
        case "JPEG":
            frame = jpeg_frame(data)
            return [frame.size] if frame else []
        case "PNG":
            return png_sizes(data)
        case "WEBP":
            return [_webp_size(data)]
        case "GIF":
            return _gif_sizes(data)
        case "BMP":
            plain = int.from_bytes(data[14:18], "little") > OLDEST_BMP
            width, height = struct.unpack_from("<ii" if plain else "<HH", data, 18)
            return [(abs(width), abs(height))]
        case "TIFF":
            tags = read_tags(data)
            tile = tags.one(TILE_WIDTH), tags.one(TILE_HEIGHT)  # decoded whole, however large
            return [(tags.one(WIDTH), tags.one(HEIGHT)), tile]
        case _:
            return coded_sizes(data)


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """What a JPEG's frame and its first scan say.

    Attributes:
        size: width and height, px.
        factors: by how many samples each channel has in a unit: across times down.
        in_one_scan: whether the first scan has all there is.
    """

    size: tuple[int, int]
    factors: tuple[int, ...]
    in_one_scan: bool


def jpeg_frame(data: bytes) -> JpegFrame | None:
    """Walk over what stands before the first scan of a JPEG; None where there is no frame.

    Raises:
        UndecodableImage: there are too many segments, or too many bytes between them.
    """
    position, junk = 2, 0
    frame = b""
    for _ in range(MAX_SEGMENTS):
        found = MARKER.search(data, position)
        end = found.end() if found else len(data)
        junk += max(0, end - position - 2)
        if junk > MAX_JUNK:
            break
        if found is None:
            return None  # without a scan: the decoder will say so
        marker, segment = found[1], data[end : end + int.from_bytes(data[end : end + 2], "big")]
        if marker == SCAN:
            return _read_frame(frame, segment)
        if marker in FRAMES:
            frame = marker + segment
        position = end if marker in WITHOUT_LENGTH else end + len(segment)
    raise UndecodableImage("The JPEG has more segments or fill bytes than this service reads.")


def _read_frame(frame: bytes, first_scan: bytes) -> JpegFrame | None:
    if len(frame) < FRAME_HEAD:
        return None
    height, width = struct.unpack_from(">HH", frame, 4)
    factors = tuple((two >> 4) * (two & 15) for two in frame[10::3][: frame[8]])
    return JpegFrame(
        (width, height), factors, frame[:1] in SEQUENTIAL and frame[8:9] == first_scan[2:3]
    )


def _check_jpeg(data: bytes) -> None:
    frame = jpeg_frame(data)
    if FILL in data:
        raise UndecodableImage("The JPEG has more fill bytes than this service reads.")
    if frame and not frame.in_one_scan and _count_scans(data, _most_scans(frame)) is None:
        raise UndecodableImage("The JPEG has more scans than this service decodes.")


def bears_repetition(data: bytes) -> bool:
    """Whether a JPEG may be decoded several times: its scans take half of what they may at most.

    Raises:
        UndecodableImage: as `check_header`.
    """
    frame = jpeg_frame(data)
    if frame is None or frame.in_one_scan:
        return True
    return _count_scans(data, _most_scans(frame) // 2) is not None


def _most_scans(frame: JpegFrame) -> int:
    return min(MAX_SCANS, MAX_SCANNED // max(1, math.prod(frame.size)))


def _count_scans(data: bytes, most: int) -> int | None:
    """Return how many scans a JPEG has; None if it has more than `most`, or too many segments.

    In compressed data the byte FF never stands before DA, so the pairs in the file are the scans,
    and those that stand elsewhere by chance: one in 65,536 bytes of a profile, and all of a preview
    or a second picture. Only if there are too many of them, the segments are walked over.
    """
    pairs = data.count(b"\xff" + SCAN)
    if pairs <= most:
        return pairs
    position, scans = 2, 0
    for _ in range(MAX_SEGMENTS + 2 * most):
        found = SEGMENT.search(data, position)
        if found is None or found[1] == END:
            return scans
        scans += found[1] == SCAN
        if scans > most:
            return None
        end = found.end()
        length = 0 if found[1] in WITHOUT_LENGTH else int.from_bytes(data[end : end + 2], "big")
        position = end + length
    return None


def _gif_sizes(data: bytes) -> Iterable[tuple[int, int]]:
    """Return the size of the canvas, and as far as the first picture reaches beyond it, px."""
    canvas = struct.unpack_from("<HH", data, 6)
    place = 13 + _gif_palette(data[10])
    while data[place] == GIF_EXTENSION:
        place += 2
        while length := data[place]:
            place += 1 + length
        place += 1
    left, top, width, height = struct.unpack_from("<HHHH", data, place + 1)
    return [(max(canvas[0], left + width), max(canvas[1], top + height))]


def _gif_palette(flags: int) -> int:
    """Return how many bytes the palette has that `flags` announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height of the canvas, which libwebp allocates when it opens a file, px."""
    match data[12:16]:
        case b"VP8X":
            width, height = data[24:27], data[27:30]
            return 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little")
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case _:
            bits = int.from_bytes(data[26:30], "little")
            return bits & 0x3FFF, bits >> 16 & 0x3FFF
