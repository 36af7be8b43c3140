"""Bytes to pixels: a caller's file, decoded upright, in sRGB, on white, and no larger than needed.

Pillow decodes: it reads a header without touching pixels, takes an allow-list of formats, and knows
EXIF, palettes, colour profiles and JPEG's scaled decoding. pi-heif adds iPhone photos.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps

from photo2cartoon.ground.errors import TooManyPixels, UndecodableImage, UnsupportedFormat
from photo2cartoon.pipeline.headers import check_header
from photo2cartoon_models.preprocess import composite

FORMATS: Final = "JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP"
MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
}
AVIF_BRANDS = {b"avif", b"avis"}
HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
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

    Raises:
        UnsupportedFormat: the file is none of `FORMATS`.
        TooManyPixels: it has more than `max_pixels`.
        UndecodableImage: it is damaged or incomplete, or made to keep a decoder busy.
    """
    format_name = sniff_format(data)
    check_header(data, format_name, max_pixels)
    try:
        with _open(data, format_name) as image:
            file_size = image.size
            if image.width * image.height > max_pixels:
                raise TooManyPixels
            if min_long_side:
                _choose_scale(image, min_long_side)
            image.load()
            pixels = np.ascontiguousarray(_to_rgb(_turn_upright(image)))
    except TooManyPixels:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels from error
    except Exception as error:  # a damaged file makes decoders raise anything
        raise UndecodableImage from error
    return DecodedPhoto(pixels, file_size)


def decode_image(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a photo in full, as `decode_photo` does, and return its pixels alone.

    Returns:
        `(H, W, 3)` uint8 RGB, C-contiguous.
    """
    return decode_photo(data, max_pixels).pixels


def _open(data: bytes, format_name: str) -> Image.Image:
    if format_name == "HEIF":
        heif: Image.Image = pi_heif.HeifImageFile(io.BytesIO(data))
        return heif
    return Image.open(io.BytesIO(data), formats=[format_name])


def _choose_scale(image: Image.Image, min_long_side: int) -> None:
    """Have a JPEG decoded smaller; `draft` does nothing to other formats."""
    for scale in JPEG_SCALES:
        if max(image.size) >= min_long_side * scale:
            image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
            return


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; damaged EXIF leaves the picture as it is."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - metadata must not cost the photo
        return image
    return image if orientation in (None, 1) else ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of a picture of any mode, in sRGB, on white, `(H, W, 3)` uint8."""
    if image.mode.startswith(("I", "F")):
        return _from_deep_gray(np.asarray(image))
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        image = Image.fromarray(composite(rgba[:, :, :3], rgba[:, :, 3]))
    elif image.mode in ("1", "P", "YCbCr", "HSV"):
        image = image.convert("RGB")
    image = _to_srgb(image, profile)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply an embedded colour profile; ignore one that is damaged or for other channels."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image


def _from_deep_gray(gray: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale gray of more than 8 bits to 0..255.

    16 bits are scaled by their whole range. No file states the range of wider numbers, so they are
    scaled by the smallest usual range that holds the largest of them.
    """
    levels = np.nan_to_num(gray.astype(np.float64)).clip(0)
    largest = float(levels.max(initial=0))
    usual = (65535.0,) if gray.dtype.itemsize == 2 else (1.0, 255.0, 65535.0)
    full = next((white for white in usual if largest <= white), largest)
    scaled = (levels * (255 / full)).astype(np.uint8)
    return np.repeat(scaled[:, :, None], 3, axis=2)
