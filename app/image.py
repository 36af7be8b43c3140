"""Bytes to image and back: decode what callers send, encode what they get.

Pillow decodes: it reads a header without touching pixels, takes an allow-list of formats, and knows
EXIF and palettes. OpenCV encodes: PNG several times faster than Pillow.
"""

import io
from collections.abc import Iterable
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from app.errors import TooManyPixels, UndecodableImage, UnsupportedFormat
from models.preprocess import WHITE

OutputFormat = Literal["png", "jpeg", "webp"]
MEDIA_TYPES: dict[OutputFormat, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}
JPEG_QUALITY = 92
WEBP_QUALITY = 90


def sniff_format(data: bytes) -> Literal["JPEG", "PNG", "WEBP"]:
    """Tell the format by its magic bytes; names and declared types do not count.

    Raises:
        UnsupportedFormat: it is none of the three.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise UnsupportedFormat


def decode_image(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a photo: upright by its EXIF orientation, transparency laid on white.

    Format and size are checked from the header; only then is a pixel decoded. Of an animation the
    first frame is taken.

    Returns:
        `(H, W, 3)` uint8 RGB, C-contiguous.

    Raises:
        UnsupportedFormat: not JPEG, PNG or WebP.
        TooManyPixels: more than `max_pixels`.
        UndecodableImage: damaged or incomplete.
    """
    format_name = sniff_format(data)
    try:
        with Image.open(io.BytesIO(data), formats=[format_name]) as image:
            if image.width * image.height > max_pixels:
                raise TooManyPixels
            image.load()
            return np.ascontiguousarray(_flatten(_turn_upright(image)))
    except TooManyPixels:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels from error
    except UnidentifiedImageError as error:
        raise UndecodableImage from error
    except Exception as error:  # a damaged file makes decoders raise anything
        raise UndecodableImage from error


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; damaged EXIF leaves the picture as it is."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - metadata must not cost the photo
        return image
    return image if orientation in (None, 1) else ImageOps.exif_transpose(image)


def _flatten(image: Image.Image) -> NDArray[np.uint8]:
    """RGB pixels of any mode, `(H, W, 3)` uint8."""
    if image.mode.startswith(("I", "F")):  # 16-bit gray: Pillow would clip it to 255
        gray = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(background, image)
    return np.asarray(image.convert("RGB"))


def encode_image(image: NDArray[np.uint8], output_format: OutputFormat) -> bytes:
    """Encode `(H, W, 3)` uint8 RGB; the file carries pixels and nothing else."""
    parameters: Iterable[int] = {
        "png": (),  # OpenCV's own choice: naming a level switches its fast strategy off
        "jpeg": (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY),
        "webp": (cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY),
    }[output_format]
    done, encoded = cv2.imencode(
        f".{output_format}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), list(parameters)
    )
    if not done:
        raise RuntimeError(f"OpenCV could not encode {output_format}")
    return encoded.tobytes()
