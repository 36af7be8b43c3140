"""Coded sizes: how large the pictures inside an AVIF or a HEIC are, whatever its boxes say.

Such a file states a size (`ispe`) beside its coded pictures, and decoders decode a picture in full
before they compare the two. The coded size stands in AV1's sequence header and in HEVC's sequence
parameter set; both are read here, of every item and of the first sample of every track. A file has
a few dozen boxes, items and units; one of many thousands is made to keep a reader busy.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

AV1_SEQUENCE_HEADER = 1
HEVC_PARAMETERS = 33
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"iprp", b"ipco")
CODED_ITEMS = (b"av01", b"hvc1")
MAX_DEPTH = 10
MAX_PARTS = 20_000  # boxes, places of items, or coded units


def coded_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield every width and height that the file states or codes, px; 0 for units without any.

    Raises:
        ValueError: the boxes are damaged, or too many.
    """
    yield from _at_most(MAX_PARTS, _all_sizes(data))


T = TypeVar("T")


def _at_most(count: int, parts: Iterable[T]) -> Iterator[T]:
    for index, part in enumerate(parts):
        if index == count:
            raise ValueError("more parts than any photo has")
        yield part


def _all_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    boxes = find_boxes(data)
    lengths = {4}  # bytes of the number before each HEVC unit
    for kind, content in boxes:
        if kind == b"ispe":
            yield _number(content, 4, 4), _number(content, 8, 4)
        elif kind == b"hvcC":
            lengths.add((content[21] & 3) + 1 if len(content) > 21 else 4)
            yield from _hevc_sizes(_configured_units(content))
    for kind, coded in _pictures(data, boxes):
        if kind == b"av01":
            yield from _av1_sizes(coded)
        else:
            for length in lengths:
                yield from _hevc_sizes(_units(coded, length))


def find_boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and content of every box of a file; see `_boxes`.

    Raises:
        ValueError: the boxes are damaged, or too many.
    """
    return list(_at_most(MAX_PARTS, _boxes(data, 0, len(data))))


def _boxes(data: bytes, start: int, end: int, depth: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of every box between two places, and of those inside containers.

    Containers, and the box with the coded bytes, are yielded without content. What follows the last
    box of a file, as some cameras add, is no error.
    """
    while start + 8 <= end:
        size, kind, head = _number(data, start, 4), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = _number(data, start + 8, 8), 16
        stop = end if size == 0 else start + size
        if not start + head <= stop <= end:
            if end == len(data):
                return
            raise ValueError("a box is larger than what it stands in")
        inside = kind == b"meta" or kind in CONTAINERS
        yield kind, b"" if inside or kind == b"mdat" else data[start + head : stop]
        if inside and depth == MAX_DEPTH:
            raise ValueError("more boxes in boxes than any photo has")
        if inside:
            yield from _boxes(data, start + head + (4 if kind == b"meta" else 0), stop, depth + 1)
        start = stop


def _pictures(data: bytes, boxes: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield codec and bytes of every coded item, and of the first sample of every track."""
    kinds = dict(pair for kind, content in boxes if kind == b"iinf" for pair in _items(content))
    idat = next((content for kind, content in boxes if kind == b"idat"), b"")
    left = 2 * len(data)  # items may share bytes, but not without end
    for content in (content for kind, content in boxes if kind == b"iloc"):
        for item, source, extents in _places(content):
            if kinds.get(item) not in CODED_ITEMS:
                continue
            within = idat if source == 1 else data
            coded = b"".join(
                within[offset : offset + length if length else None] for offset, length in extents
            )
            left -= len(coded)
            if left < 0:
                raise ValueError("items share more bytes than the file has")
            yield kinds[item], coded
    sizes = [content for kind, content in boxes if kind == b"stsz"]
    chunks = [(kind, content) for kind, content in boxes if kind in (b"stco", b"co64")]
    for (kind, content), size in zip(chunks, sizes, strict=False):
        offset = _number(content, 8, 4 if kind == b"stco" else 8)
        length = _number(size, 4, 4) or _number(size, 12, 4)
        yield b"av01", data[offset : offset + length]


def _items(iinf: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield id and kind of every item."""
    start = 6 if iinf[:1] == b"\0" else 8
    for kind, infe in _at_most(MAX_PARTS, _boxes(iinf, start, len(iinf))):
        if kind == b"infe":
            width = 2 if infe[0] < 3 else 4
            yield _number(infe, 4, width), infe[6 + width : 10 + width]


def _places(iloc: bytes) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Yield each item's id, where its bytes are (0 file, 1 `idat`), and offsets with lengths."""
    version, sizes = iloc[0], _number(iloc, 4, 2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    position, left = 6, MAX_PARTS
    width = 4 if version == 2 else 2

    def take(size: int) -> int:
        nonlocal position
        position += size
        return _number(iloc, position - size, size)

    for _ in range(take(width)):
        item = take(width)
        source = take(2) & 15 if version else 0
        take(2)
        base = take(base_size)
        extents = []
        count = take(2)
        left -= 1 + count
        if left < 0:
            raise ValueError("more places than any photo has")
        for _ in range(count):
            take(index_size)
            extents.append((base + take(offset_size), take(length_size)))
        yield item, source, extents


def _av1_sizes(coded: bytes) -> Iterator[tuple[int, int]]:
    """Yield the largest frame of each sequence header among AV1's units."""
    position = 0
    while position < len(coded):
        head = coded[position]
        position += 2 if head & 4 else 1
        size = len(coded) - position
        if head & 2:
            size = shift = 0
            more = True
            while more:
                byte = _number(coded, position, 1)
                size |= (byte & 127) << shift
                more, shift, position = byte > 127, shift + 7, position + 1
        is_header = head >> 3 & 15 == AV1_SEQUENCE_HEADER
        header = coded[position : position + min(size, 1_000)]
        yield _largest_frame(_Bits(header)) if is_header else (0, 0)
        position += size


def _largest_frame(bits: "_Bits") -> tuple[int, int]:
    """Read AV1's sequence header up to the largest frame (AV1 specification, 5.5.1)."""
    bits.take(4)
    if bits.take(1):  # a still picture's short header
        bits.take(5)
    else:
        delay_bits = _skip_timing(bits) if bits.take(1) else 0
        display_delays = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay_bits and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if display_delays and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _skip_timing(bits: "_Bits") -> int:
    """Pass over the timing; return how many bits a decoder's delay has, 0 where there is none."""
    bits.take(64)
    if bits.take(1):
        bits.exp_golomb()
    if not bits.take(1):
        return 0
    delay_bits = bits.take(5) + 1
    bits.take(42)
    return delay_bits


def _configured_units(hvcc: bytes) -> Iterator[bytes]:
    """Yield the HEVC units that stand in a file's configuration."""
    position = 23
    for _ in range(_number(hvcc, 22, 1)):
        count = _number(hvcc, position + 1, 2)
        position += 3
        for _ in range(count):
            length = _number(hvcc, position, 2)
            yield hvcc[position + 2 : position + 2 + length]
            position += 2 + length


def _units(coded: bytes, length_size: int) -> Iterator[bytes]:
    """Yield HEVC's units, each of which has its length before it."""
    position = 0
    while position + length_size < len(coded):
        length = _number(coded, position, length_size)
        position += length_size
        yield coded[position : position + min(length, 1_000)]
        position += length


def _hevc_sizes(units: Iterator[bytes]) -> Iterator[tuple[int, int]]:
    """Yield the size of each sequence parameter set among HEVC's units (H.265, 7.3.2.2)."""
    for unit in units:
        if not unit or unit[0] >> 1 & 63 != HEVC_PARAMETERS:
            yield 0, 0
            continue
        bits = _Bits(unit[2:1_000].replace(b"\0\0\3", b"\0\0"))
        bits.take(4)
        layers = bits.take(3)
        bits.take(1 + 96)
        present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
        if layers:
            bits.take(2 * (8 - layers))
        for profile, level in present:
            bits.take(88 * profile + 8 * level)
        bits.exp_golomb()
        if bits.exp_golomb() == 3:
            bits.take(1)
        yield bits.exp_golomb(), bits.exp_golomb()


def _number(data: bytes, position: int, size: int) -> int:
    """Return the number in `size` bytes, the most significant first."""
    if position + size > len(data):
        raise ValueError("the boxes end too early")
    return int.from_bytes(data[position : position + size], "big")


class _Bits:
    """Reads numbers from bits, the most significant first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header ends too early")
        return self._value >> self._left & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
