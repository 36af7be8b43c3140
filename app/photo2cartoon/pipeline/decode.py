"""Bytes to pixels: a caller's file, decoded upright, in sRGB, on white, and no larger than needed.

Pillow decodes: it reads a header without touching pixels, takes an allow-list of formats, and knows
EXIF, palettes, colour profiles and JPEG's scaled decoding. pi-heif adds iPhone photos. What photos
from the world need besides, `reading` has: colours, damaged files, kinds of TIFF, WebP's pixels.
"""

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from photo2cartoon.ground.errors import (
    Problem,
    TooManyPixels,
    UndecodableImage,
    UnsupportedFormat,
)
from photo2cartoon.pipeline.headers import bears_repetition, check_header
from photo2cartoon.pipeline.reading.endings import MOST_MISSING, SEEN, complete
from photo2cartoon.pipeline.reading.png import strip_png
from photo2cartoon.pipeline.reading.srgb import to_rgb
from photo2cartoon.pipeline.reading.tiff import is_misread, open_tiff
from photo2cartoon.pipeline.reading.webp import read_webp

FORMATS: Final = "JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP"
MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"BM": "BMP",
}
AVIF_BRANDS = {b"avif", b"avis"}
HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
FLIPPED_COLUMNS, FLIPPED_ROWS = (slice(None), slice(None, None, -1)), slice(None, None, -1)
TURNS = {  # by the EXIF orientation: whether its rows are columns, and what is flipped upright
    2: (False, FLIPPED_COLUMNS),
    3: (False, (FLIPPED_ROWS, FLIPPED_ROWS)),
    4: (False, (FLIPPED_ROWS,)),
    5: (True, ()),
    6: (True, FLIPPED_COLUMNS),
    7: (True, (FLIPPED_ROWS, FLIPPED_ROWS)),
    8: (True, (FLIPPED_ROWS,)),
}
COMPARED_SIDE = 1280  # px: of two JPEGs that are compared
JPEG_SCALES = (8, 4, 2)  # a JPEG decoder can leave out whole frequencies: 1/8, 1/4, 1/2


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """A photo's pixels, and how large the file has them.

    Attributes:
        pixels: `(H, W, 3)` uint8 RGB, C-contiguous, upright.
        file_size: the two sides of the picture as stored in the file, px: width, height before the
            EXIF orientation is applied.
    """

    pixels: NDArray[np.uint8]
    file_size: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of `pixels`, px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def scale(self) -> int:
        """How many pixels of the file became one, along a side: 1, 2, 4 or 8."""
        return round(max(self.file_size) / max(self.size))


def sniff_format(data: bytes) -> str:
    """Tell the format by its magic bytes; names and declared types do not count.

    Raises:
        UnsupportedFormat: it is none of `FORMATS`.
    """
    for magic, name in MAGIC.items():
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":  # ISO media file: major brand, version, compatible brands
        length = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[k : k + 4] for k in range(16, length, 4))}
        if brands & AVIF_BRANDS:
            return "AVIF"
        if brands & HEIC_BRANDS:
            return "HEIF"
    raise UnsupportedFormat


def decode_photo(data: bytes, max_pixels: int, min_long_side: int | None = None) -> DecodedPhoto:
    """Decode a photo: upright by its EXIF orientation, in sRGB, transparency laid on white.

    Format and size are checked from the header; only then is a pixel decoded. Of several pictures
    (frames of an animation, pages) the first is taken.

    Args:
        data: the file.
        max_pixels: most pixels, by the header.
        min_long_side: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as its long side
            stays at least this, px; None decodes it in full.

    A file that lacks a few bytes at its end is decoded as the whole one: JPEG, PNG, WebP and BMP,
    as long as nearly all of the picture is there (`reading.endings`). Of JPEGs that takes three
    more decodings, so it is done only for those with few scans for their size.

    Raises:
        UnsupportedFormat: the file is none of `FORMATS`, or a TIFF of a kind that is not read.
        TooManyPixels: it has more than `max_pixels`.
        UndecodableImage: it is damaged or incomplete, or made to keep a decoder busy.
    """
    format_name = sniff_format(data)
    max_pixels = check_header(data, format_name, max_pixels)  # no decoder finds more
    colours: dict[str, Any] = {}
    if format_name == "PNG":
        stripped = strip_png(data)
        data, colours = stripped.data, stripped.colours

    def decode(file: bytes, long_side: int | None = min_long_side) -> DecodedPhoto:
        return _decode(file, format_name, colours, max_pixels, long_side)

    try:
        return decode(data)
    except UndecodableImage:
        endings = _complete(data, format_name)
        if not endings:
            raise
    if format_name != "JPEG":
        photo, *others = map(decode, endings)
    else:  # compared at a smaller size: two at full size would take twice the memory
        side = min(min_long_side or COMPARED_SIDE, COMPARED_SIDE)
        photo, *others = (decode(file, side) for file in endings)
    if any(_missing_share(photo, other) > MOST_MISSING for other in others):
        raise UndecodableImage
    return decode(endings[0]) if format_name == "JPEG" else photo


def decode_image(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a photo in full, as `decode_photo` does, and return its pixels alone.

    Returns:
        `(H, W, 3)` uint8 RGB, C-contiguous.
    """
    return decode_photo(data, max_pixels).pixels


def _decode(
    data: bytes,
    format_name: str,
    colours: dict[str, Any],
    max_pixels: int,
    min_long_side: int | None,
) -> DecodedPhoto:
    try:
        with _open(data, format_name, max_pixels) as image:
            file_size = image.size
            if image.width * image.height > max_pixels:
                raise TooManyPixels
            if min_long_side:
                _choose_scale(image, min_long_side)
            picture = read_webp(data, image) if format_name == "WEBP" else image
            picture.load()
            picture.info.update(colours.items())
            pixels = to_pixels(picture)
    except Problem:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels from error
    except Exception as error:  # a damaged file makes decoders raise anything
        raise UndecodableImage from error
    return DecodedPhoto(pixels, file_size)


def _open(data: bytes, format_name: str, max_pixels: int) -> Image.Image:
    if format_name == "HEIF":
        heif: Image.Image = pi_heif.HeifImageFile(io.BytesIO(data))
        return heif
    if format_name == "TIFF" and is_misread(data):
        return open_tiff(data, max_pixels)
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=[format_name])
    except UnidentifiedImageError:
        if format_name != "TIFF":
            raise
        return open_tiff(data, max_pixels)
    if format_name == "AVIF" and "icc_profile" not in image.info:
        with contextlib.suppress(Exception):  # Pillow does not tell what the container states
            image.info["nclx_profile"] = pi_heif.HeifImageFile(io.BytesIO(data)).info[
                "nclx_profile"
            ]
    return image


def _complete(data: bytes, format_name: str) -> tuple[bytes, ...]:
    """Complete a file as `complete` does, unless decoding it several times would take too long.

    Raises:
        UndecodableImage: what its header promises makes no sense.
    """
    try:
        if format_name == "JPEG" and not bears_repetition(data):
            return ()
        return complete(data, format_name)
    except Exception as error:
        raise UndecodableImage from error


def _missing_share(photo: DecodedPhoto, other: DecodedPhoto) -> float:
    """Return the share of the pixels that depends on how a file that was cut off is completed."""
    differences = cv2.absdiff(photo.pixels, other.pixels).max(axis=2)
    return float((differences > SEEN).mean())


def _choose_scale(image: Image.Image, min_long_side: int) -> None:
    """Have a JPEG decoded smaller; `draft` does nothing to other formats."""
    for scale in JPEG_SCALES:
        if max(image.size) >= min_long_side * scale:
            image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
            return


def to_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of a Pillow image: upright by its EXIF, in sRGB by its profile, on white.

    Returns:
        `(H, W, 3)` uint8 RGB, C-contiguous.
    """
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - damaged metadata must not cost the photo
        turn = None
    across, flipped = turn or (False, ())
    shape = (image.width, image.height) if across else (image.height, image.width)
    pixels = np.empty((*shape, 3), np.uint8)
    as_stored = pixels[flipped].transpose(1, 0, 2) if across else pixels[flipped]
    to_rgb(image, as_stored)
    return pixels
