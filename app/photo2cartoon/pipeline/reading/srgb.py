"""A picture of any mode and any profile to sRGB on white.

The numbers of a profile decide what is done, never its name. A profile that is damaged, or is for
other channels than the picture has, is ignored: it must not cost the photo.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from photo2cartoon.pipeline.reading.profiles import find_profile
from photo2cartoon_models.preprocess import composite

GRAY_MODES: Final = ("1", "L", "LA", "La")
MIN_IS_WHITE: Final = (262, 0)  # TIFF's tag PhotometricInterpretation, and its value
SAME_COLOUR = 1  # levels by which a profile's colours may differ from sRGB's and count as sRGB
USUAL_WHITES: Final = (1.0, 255.0, 65535.0)
BAND_PX: Final = 1 << 17  # pixels converted at once
OVERSHOOT = 8.0  # numbers of 0..1 may exceed 1 a little: highlights of HDR, ringing of a filter

Converter = Callable[[Image.Image], NDArray[np.uint8]]  # a band of rows to `(H, W, 3)` RGB


def to_rgb(image: Image.Image, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return the pixels of a picture of any mode, in sRGB, on white.

    The picture is converted in bands of rows: beside it and the result, little memory is taken.

    Args:
        image: the picture; it is decoded if it was not.
        into: `(H, W, 3)` uint8, where the pixels go; None: an array of their own.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    try:
        profile = find_profile(image.info)
    except (KeyError, TypeError, ValueError, OverflowError):
        profile = None  # what the file states makes no sense
    image.load()
    if image.mode.startswith(("I", "F")):
        convert = _deep_gray(image, profile)
    elif image.has_transparency_data:
        convert = _on_white(image, profile)
    else:
        convert = _in_srgb(image, profile)
    pixels = np.empty((image.height, image.width, 3), np.uint8) if into is None else into
    for rows, band in _bands(image):
        pixels[rows] = convert(band)
    return pixels


def _bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yield the picture in parts: which rows, and a picture of them."""
    rows = max(1, BAND_PX // max(1, image.width))
    for top in range(0, image.height, rows):
        end = min(top + rows, image.height)
        yield slice(top, end), image.crop((0, top, image.width, end))


def scale_levels(levels: NDArray[np.generic], white: int) -> NDArray[np.uint16]:
    """Scale samples to 0..white.

    8 and 16 bits are scaled by their whole range. No file states the range of wider numbers, so
    they are scaled by the smallest usual range that holds the largest of them.
    """
    rows = max(1, BAND_PX * len(levels) // max(1, levels.size))
    bands = [slice(top, top + rows) for top in range(0, len(levels), rows)]
    full = _full_scale(levels.dtype, (levels[band] for band in bands))
    scaled = np.empty(levels.shape, np.uint16)
    for band in bands:
        scaled[band] = _scale(levels[band], full, white)
    return scaled


def _full_scale(dtype: np.dtype[Any], parts: Iterable[NDArray[np.generic]]) -> float:
    """Return the sample that means white, of a picture that comes in parts."""
    if dtype.itemsize <= 2 and dtype.kind == "u":
        return float(np.iinfo(dtype).max)
    largest = max((float(_sane(part).max(initial=0)) for part in parts), default=0.0)
    if dtype.kind == "f" and largest < OVERSHOOT:
        return 1.0
    return next((usual for usual in USUAL_WHITES if largest <= usual), largest)


def _sane(levels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return samples without negatives, and with 0 for those that are no numbers."""
    with np.errstate(invalid="ignore"):  # a signalling NaN, which is a caller's, would be a warning
        return np.nan_to_num(levels.astype(np.float64), posinf=0.0).clip(0)


def _scale(levels: NDArray[np.generic], full: float, white: int) -> NDArray[np.uint16]:
    return (_sane(levels).clip(0, full) * (white / full)).astype(np.uint16)


def _deep_gray(image: Image.Image, profile: bytes | None) -> Converter:
    """Return what converts bands of a picture of one channel in 16 bits or more."""
    white = 65535 if profile else 255  # dark levels of a linear profile need all their bits
    parts = (np.asarray(band) for _, band in _bands(image))
    full = _full_scale(np.asarray(image.crop((0, 0, 1, 1))).dtype, parts)
    tag, value = MIN_IS_WHITE
    # Pillow turns the negatives of 8 bits and fewer, and leaves the deep ones to its callers.
    negative = getattr(image, "tag_v2", {}).get(tag) == value

    def scale(band: Image.Image) -> NDArray[np.uint16]:
        scaled = _scale(np.asarray(band), full, white)
        return (white - scaled).astype(np.uint16) if negative else scaled

    if not profile:
        return lambda band: np.repeat(scale(band).astype(np.uint8)[:, :, None], 3, axis=2)
    in_srgb = _in_srgb(Image.new("I;16", (1, 1)), profile)
    return lambda band: in_srgb(Image.fromarray(scale(band)))


def _on_white(image: Image.Image, profile: bytes | None) -> Converter:
    """Return what converts bands of a picture with transparency."""
    mode = "LA" if image.mode in GRAY_MODES else "RGBA"
    in_srgb = _in_srgb(Image.new(mode[:-1], (1, 1)), profile)

    def lay(band: Image.Image) -> NDArray[np.uint8]:
        both = band.convert(mode)
        return composite(in_srgb(both.convert(mode[:-1])), np.asarray(both.getchannel("A")))

    return lay


def _in_srgb(image: Image.Image, profile: bytes | None) -> Converter:
    """Return what converts bands of an opaque picture, whose colours are those of `profile`."""
    source = _read_profile(profile) if profile else None
    if source is None:
        return _plain_rgb
    space = source.profile.xcolor_space.strip()
    mode = _fit_mode(image.crop((0, 0, 1, 1)), space).mode
    try:
        # For gray, littleCMS's shortcut is too coarse in the dark: 400 of 65535 gave 10, not 18.
        gray = mode == "L" or mode.startswith("I")
        flags = ImageCms.Flags.NOOPTIMIZE if gray else ImageCms.Flags.NONE
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", flags=flags)
        if _is_srgb(transform, mode):
            return _plain_rgb
    except (ImageCms.PyCMSError, OSError, ValueError):
        return _plain_rgb

    def convert(band: Image.Image) -> NDArray[np.uint8]:
        try:
            converted = ImageCms.applyTransform(_fit_mode(band, space), transform)
        except (ImageCms.PyCMSError, OSError, ValueError):
            return _plain_rgb(band)
        return _plain_rgb(converted or band)

    return convert


def _read_profile(profile: bytes) -> ImageCms.ImageCmsProfile | None:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _fit_mode(image: Image.Image, space: str) -> Image.Image:
    """Give a picture the channels of its profile where that loses nothing."""
    if space == "RGB" and image.mode not in ("CMYK", "LAB"):
        return Image.fromarray(_plain_rgb(image))
    if space == "GRAY" and image.mode == "1":
        return image.convert("L")
    return image


def _is_srgb(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Tell whether a transform leaves colours of all kinds as they are."""
    if mode not in ("L", "RGB"):
        return False
    probe = _probe() if mode == "RGB" else Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    converted = ImageCms.applyTransform(probe, transform)
    if converted is None:  # only where a picture is converted in place
        return False
    before = np.asarray(probe.convert("RGB")).astype(int)
    return bool(np.abs(np.asarray(converted).astype(int) - before).max() <= SAME_COLOUR)


@cache
def _probe() -> Image.Image:
    """Return 9 levels of each channel in all combinations, and all grays."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    return Image.fromarray(np.concatenate([cube, grays])[None])


def _plain_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        levels = (np.asarray(image) * (255 / 65535)).astype(np.uint8)
        return np.repeat(levels[:, :, None], 3, axis=2)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
