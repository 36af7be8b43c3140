"""A PNG without its metadata: what shows the picture stays, and the colours are told apart.

A decoder that reads texts must refuse those that inflate without end, and one that trusts
checksums refuses a photo for its date. So all that is no picture is left out before Pillow looks.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final, NamedTuple

from photo2cartoon.ground.errors import UndecodableImage

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
TEXTS: Final = (b"iTXt", b"tEXt", b"zTXt")
# Texts that hold an orientation: they stay if they are short, so that the photo is turned upright.
TURNING: Final = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")
SHOWN: Final = {b"tRNS": 1, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"eXIf": 1}  # and least lengths
LONGEST_TEXT = 1 << 20  # bytes, inflated
LARGEST_PROFILE = 1 << 23
MAX_CHUNKS: Final = 50_000  # 20 MB of chunks of 8 kB, as libpng writes them, are 2,500
END: Final = b"\0\0\0\0IEND\xaeB`\x82"
NCLX: Final = ("color_primaries", "transfer_characteristics")  # as pi-heif names them
CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type


@dataclass(slots=True)
class StrippedPng:
    """A PNG's picture, and what it says of its colours.

    Attributes:
        data: the file with what shows the picture, and with an end.
        colours: entries for a Pillow image's `info`: `icc_profile` or `nclx_profile`.
    """

    data: bytes
    colours: dict[str, Any] = field(default_factory=dict)


class Chunk(NamedTuple):
    """One chunk: its name, its content, all its bytes, and whether the file ends within it."""

    name: bytes
    content: memoryview
    raw: memoryview
    cut_off: bool

    @property
    def is_sound(self) -> bool:
        """Whether the checksum fits."""
        return self.raw[-4:] == zlib.crc32(self.content, zlib.crc32(self.name)).to_bytes(4, "big")


def strip_png(data: bytes) -> StrippedPng:
    """Leave out the metadata of a PNG, and every chunk besides the picture that is damaged."""
    kept: list[bytes | memoryview] = [SIGNATURE]
    colours: dict[str, Any] = {}
    for chunk in _chunks(data):
        if chunk.name == b"IDAT" and chunk.cut_off:  # it may be all but whole
            kept.append(_make_chunk(chunk.name, chunk.content))
        elif not chunk.name[0] & 0x20:  # critical: left to the decoder
            kept.append(chunk.raw)
        elif chunk.cut_off or not chunk.is_sound:
            continue
        elif chunk.name in (b"iCCP", b"cICP"):
            colours |= _read_colours(chunk.name, bytes(chunk.content))
        elif _is_shown(chunk.name, bytes(chunk.content)):
            kept.append(chunk.raw)
    if "nclx_profile" in colours:
        colours.pop("icc_profile", None)  # cICP comes first: PNG, third edition
    return StrippedPng(b"".join([*kept, END]), colours)


def png_sizes(data: bytes) -> list[tuple[int, int]]:
    """Return width and height by every header that stands before the picture, px.

    Raises:
        ValueError, struct.error: a header is damaged or too short.
    """
    before = takewhile(lambda chunk: chunk.name != b"IDAT", _chunks(data))
    heads = [chunk for chunk in before if chunk.name == b"IHDR"]
    if not all(head.is_sound for head in heads):
        raise ValueError("a header is damaged")
    return [struct.unpack_from(">II", head.content) for head in heads]


def fill_png(data: bytes, most: float) -> bytes | None:
    """Complete a stripped PNG that lacks its last rows: they repeat the row above.

    Args:
        data: the file, as `strip_png` returns it.
        most: share of the picture that may be missing.

    Returns:
        The file, None where more is missing, or where the rows do not follow each other.
    """
    header, *chunks = _chunks(data)
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header.content)
    row = 1 + (width * CHANNELS.get(kind, 1) * depth + 7) // 8
    pixels = b"".join(chunk.content for chunk in chunks if chunk.name == b"IDAT")
    rows = zlib.decompressobj().decompress(pixels, row * height)
    whole = len(rows) // row
    if interlaced or whole < (1 - most) * height:
        return None
    rows = rows[: whole * row] + (b"\2" + bytes(row - 1)) * (height - whole)  # 2: as the row above
    kept = [header.raw, *(chunk.raw for chunk in chunks if chunk.name != b"IDAT")]
    return b"".join([SIGNATURE, *kept, _make_chunk(b"IDAT", zlib.compress(rows, 1)), END])


def _chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks before the end of the picture, or before the first that is none.

    Raises:
        UndecodableImage: there are more than any photo has.
    """
    view, place = memoryview(data), len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, place)
        start, end = place + 8, place + 12 + length
        if name == b"IEND" or not name.isalpha():
            return
        yield Chunk(name, view[start : end - 4], view[place:end], end > len(data))
        place = end
    raise UndecodableImage("The PNG has more chunks than this service reads.")


def _read_colours(name: bytes, content: bytes) -> dict[str, Any]:
    if name == b"cICP":
        return {"nclx_profile": dict(zip(NCLX, content, strict=False))} if len(content) == 4 else {}
    profile = _inflate(content.partition(b"\0")[2][1:], LARGEST_PROFILE)
    return {"icc_profile": profile} if profile else {}


def _is_shown(name: bytes, content: bytes) -> bool:
    if name in TEXTS:
        return content.startswith(TURNING) and _is_short(name, content)
    return name in SHOWN and len(content) >= SHOWN[name]


def _is_short(name: bytes, content: bytes) -> bool:
    rest = content.partition(b"\0")[2]
    if name == b"zTXt":
        return _inflate(rest[1:], LONGEST_TEXT) is not None
    if name == b"iTXt" and rest[:1] == b"\1":
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        return _inflate(text, LONGEST_TEXT) is not None
    return len(content) <= LONGEST_TEXT


def _inflate(data: bytes, most: int) -> bytes | None:
    """Inflate to fewer than `most` bytes; None where there are more, or where it is damaged."""
    try:
        inflated = zlib.decompressobj().decompress(data, most)
    except zlib.error:
        return None
    return inflated if len(inflated) < most else None


def _make_chunk(name: bytes, content: bytes | memoryview) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return b"".join([struct.pack(">I4s", len(content), name), content, checksum.to_bytes(4, "big")])
