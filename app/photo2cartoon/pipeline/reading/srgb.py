"""A picture of any mode and any profile to sRGB on white.

The numbers of a profile decide what is done, never its name. A profile that is damaged, or is for
other channels than the picture has, is ignored: it must not cost the photo.
"""

import io
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from photo2cartoon.pipeline.reading.profiles import find_profile
from photo2cartoon_models.preprocess import composite

GRAY_MODES: Final = ("1", "L", "LA", "La")
MIN_IS_WHITE: Final = (262, 0)  # TIFF's tag PhotometricInterpretation, and its value
SAME_COLOUR = 1  # levels by which a profile's colours may differ from sRGB's and count as sRGB
USUAL_WHITES: Final = (1.0, 255.0, 65535.0)
OVERSHOOT = 8.0  # numbers of 0..1 may exceed 1 a little: highlights of HDR, ringing of a filter


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of a picture of any mode, in sRGB, on white.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    try:
        profile = find_profile(image.info)
    except (KeyError, TypeError, ValueError, OverflowError):
        profile = None  # what the file states makes no sense
    if image.mode.startswith(("I", "F")):
        return _from_deep_gray(image, profile)
    if not image.has_transparency_data:
        return _to_srgb(image, profile)
    both = image.convert("LA" if image.mode in GRAY_MODES else "RGBA")
    opaque = both.convert(both.mode[:-1])
    return composite(_to_srgb(opaque, profile), np.asarray(both.getchannel("A")))


def scale_levels(levels: NDArray[np.generic], white: int) -> NDArray[np.uint16]:
    """Scale samples to 0..white.

    8 and 16 bits are scaled by their whole range. No file states the range of wider numbers, so
    they are scaled by the smallest usual range that holds the largest of them.
    """
    wide = np.nan_to_num(levels.astype(np.float64), posinf=0.0).clip(0)
    if levels.dtype == np.uint8:
        return (wide * (white / 255)).astype(np.uint16)
    if levels.dtype == np.uint16:
        return (wide * (white / 65535)).astype(np.uint16)
    largest = float(wide.max(initial=0))
    if np.issubdtype(levels.dtype, np.floating) and largest < OVERSHOOT:
        return (wide.clip(0, 1) * white).astype(np.uint16)
    full = next((usual for usual in USUAL_WHITES if largest <= usual), largest)
    return (wide * (white / full)).astype(np.uint16)


def _from_deep_gray(image: Image.Image, profile: bytes | None) -> NDArray[np.uint8]:
    levels = np.asarray(image)
    white = 65535 if profile else 255  # dark levels of a linear profile need all their bits
    scaled = scale_levels(levels, white)
    tag, value = MIN_IS_WHITE
    # Pillow turns the negatives of 8 bits and fewer, and leaves the deep ones to its callers.
    if getattr(image, "tag_v2", {}).get(tag) == value:
        scaled = (white - scaled).astype(np.uint16)
    if profile:
        return _to_srgb(Image.fromarray(scaled), profile)
    return np.repeat(scaled.astype(np.uint8)[:, :, None], 3, axis=2)


def _to_srgb(image: Image.Image, profile: bytes | None) -> NDArray[np.uint8]:
    """Return the pixels of an opaque picture, its colours being those of `profile`."""
    source = _read_profile(profile) if profile else None
    if source is None:
        return _plain_rgb(image)
    image = _fit_mode(image, source.profile.xcolor_space.strip())
    try:
        # For gray, littleCMS's shortcut is too coarse in the dark: 400 of 65535 gave 10, not 18.
        gray = image.mode == "L" or image.mode.startswith("I")
        flags = ImageCms.Flags.NOOPTIMIZE if gray else ImageCms.Flags.NONE
        transform = ImageCms.buildTransform(source, _srgb(), image.mode, "RGB", flags=flags)
        if _is_srgb(transform, image.mode):
            return _plain_rgb(image)
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return _plain_rgb(image)
    return _plain_rgb(converted or image)


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
