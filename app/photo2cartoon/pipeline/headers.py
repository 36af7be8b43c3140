"""Headers: what a decoder would have to do, told from the file's bytes before a decoder sees them.

Decoders believe a header: some take the memory that it asks for as soon as the file is opened, and
a JPEG of a few hundred kilobytes can ask for minutes of work. The checks take time in proportion to
the file's length, well below a millisecond for an ordinary photo.
"""

import re
from collections.abc import Iterable
from typing import Final

from photo2cartoon.ground.errors import TooManyPixels, UndecodableImage
from photo2cartoon.pipeline.coded_size import coded_sizes

MAX_SCANS: Final = 500  # a progressive JPEG has about ten; each may cost as much as the whole photo
MAX_SEGMENTS: Final = 1_000  # before the first scan; 20 MB of the largest segments are 306
MAX_JUNK: Final = 65_536  # bytes before the first scan that belong to no segment
MARKER: Final = re.compile(rb"\xff+([\x01-\xfe])")
SCAN: Final = b"\xda"
SEQUENTIAL: Final = (b"\xc0", b"\xc1")  # frames that need one scan; others come in several
FRAMES: Final = (*SEQUENTIAL, b"\xc2", b"\xc9", b"\xca")
WITHOUT_LENGTH: Final = (b"\x01", *(bytes([marker]) for marker in range(0xD0, 0xDA)))


def check_header(data: bytes, format_name: str, max_pixels: int) -> None:
    """Refuse a file whose decoding would cost more than its size and pixels allow.

    Args:
        data: the file.
        format_name: what `sniff_format` says it is.
        max_pixels: most pixels, by the header.

    Raises:
        TooManyPixels: the header asks for more than `max_pixels`, or a picture inside has more.
        UndecodableImage: a JPEG has too many scans, segments or bytes between them, or the boxes of
            an AVIF or a HEIC are damaged.
    """
    if format_name == "JPEG":
        _check_jpeg(data)
    elif format_name == "WEBP":
        _check_sizes([_webp_size(data)], max_pixels)
    elif format_name in ("AVIF", "HEIF"):
        try:
            _check_sizes(coded_sizes(data), max_pixels)
        except (ValueError, IndexError) as error:
            raise UndecodableImage from error


def _check_sizes(sizes: Iterable[tuple[int, int]], max_pixels: int) -> None:
    for width, height in sizes:
        if width * height > max_pixels:
            raise TooManyPixels


def _check_jpeg(data: bytes) -> None:
    """Walk over what stands before the first scan, and count the scans where there may be many."""
    position, junk = 2, 0
    frame = b""
    for _ in range(MAX_SEGMENTS):
        found = MARKER.search(data, position)
        end = found.end() if found else len(data)
        junk += max(0, end - position - 2)
        if junk > MAX_JUNK:
            break
        if found is None:
            return  # without a scan: the decoder will say so
        marker, segment = found[1], data[end : end + int.from_bytes(data[end : end + 2], "big")]
        if marker == SCAN:
            _check_scans(data, frame, segment)
            return
        if marker in FRAMES:
            frame = marker + segment
        position = end if marker in WITHOUT_LENGTH else end + len(segment)
    raise UndecodableImage("The JPEG has more segments or fill bytes than this service reads.")


def _check_scans(data: bytes, frame: bytes, first_scan: bytes) -> None:
    """Count the scans of the whole file, unless the first has all channels: it is the only one.

    In compressed data the byte FF never stands before DA, so counting the pair finds every scan;
    it stands by chance in other data, such as a profile, about once in 65,536 bytes.
    """
    alone = frame[:1] in SEQUENTIAL and frame[8:9] == first_scan[2:3]
    if not alone and data.count(b"\xff" + SCAN) > MAX_SCANS:
        raise UndecodableImage("The JPEG has more scans than this service decodes.")


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
