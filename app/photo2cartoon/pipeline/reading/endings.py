"""Files that lack their last bytes: as good as whole, if little of the picture is missing.

Telephones and broken uploads cut files off. How much of a picture is missing, its decoder does not
tell, so the file is completed with two different endings: what comes out the same was there.
"""

import struct
from typing import Final

from photo2cartoon.pipeline.reading.png import fill_png

MOST_MISSING: Final = 0.05  # share of the picture, at its lower edge
SEEN: Final = 8  # levels from which two endings differ visibly
JPEG_END: Final = b"\xff\xd9"
RESTARTS: Final = b"\xff\xdd\0\4"  # the segment that says that there are restart markers
WEBP_PICTURE: Final = (b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")


def complete(data: bytes, format_name: str) -> tuple[bytes, ...]:
    """Complete a file that cannot be decoded, if it may lack nothing but its end.

    Returns:
        Files of which each is whole: none, where the format cannot be completed; one, if it is
        known that at most `MOST_MISSING` of the picture is missing; two with different endings,
        if that is left to a comparison.
    """
    if format_name == "PNG":
        filled = fill_png(data, MOST_MISSING)
        return (filled,) if filled else ()
    if format_name == "BMP":
        return (data + bytes(int(len(data) * MOST_MISSING)),)
    if format_name == "JPEG":
        # A seventh of the file is more than the share that may be missing, however it is packed.
        length = len(data) // 7 + 64
        noise = _noise_with_restarts(length) if RESTARTS in data else _noise(length)
        return data + JPEG_END, data + noise + JPEG_END
    if format_name == "WEBP":
        return _fill_webp(data, noisy=False), _fill_webp(data, noisy=True)
    return ()


def _noise(length: int) -> bytes:
    """Return bytes of all values below 255, which would begin a JPEG marker."""
    return bytes((k * k * 31 + k * 7) % 255 for k in range(251)) * (length // 251 + 1)


def _noise_with_restarts(length: int) -> bytes:
    """Return noise with JPEG's eight restart markers in turn, without which it would be skipped."""
    piece = _noise(1)
    return b"".join(piece + bytes([0xFF, 0xD0 + k % 8]) for k in range(length // len(piece) + 8))


def _fill_webp(data: bytes, *, noisy: bool) -> bytes:
    """Rebuild the container around the chunks of the picture, the last one longer than it was."""
    chunks, place = b"", 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        end = place + 8 + length + length % 2
        missing = place + 8 + length - len(data)
        if name in WEBP_PICTURE and missing <= len(data) * MOST_MISSING:
            content = data[place + 8 : min(place + 8 + length, len(data))]
            if missing > 0:  # what is made up may take more bytes than what was there
                longer = missing + 64 + len(data) // 7
                content += _noise(longer)[:longer] if noisy else bytes(longer)
            chunks += name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        place = end
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
