"""Fields: float32 pictures, and the few operations on them that every step of a drawing needs.

A *field* is float32, `(H, W)` or `(H, W, C)`. Lengths are given in units: 1 unit is 1/512 of the
side of a portrait, and `unit` is its length in px, so that a look is the same at every size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

LEAST_SIDE = 8  # px of a shrunk field


def blur(field: Field, sigma: float) -> Field:
    """Blur by a Gaussian of `sigma` px, mirrored at the border."""
    blurred = cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32)


def smooth(field: Field, tolerance: float, sigma: float) -> Field:
    """Smooth what differs by less than about `tolerance`: a bilateral filter of `sigma` px."""
    return np.asarray(cv2.bilateralFilter(field, 0, tolerance, sigma), np.float32)


def sample(field: Field, x: Field, y: Field) -> Field:
    """Read `field` at the positions `x`, `y` (px), linear between pixels, mirrored outside."""
    read = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(read, np.float32)


def positions(height: int, width: int) -> tuple[Field, Field]:
    """Return the coordinates x and y of every pixel, `(H, W)` each."""
    y, x = np.indices((height, width), np.float32)
    return x, y


def shrink(field: Field, factor: float) -> Field:
    """Shrink `field` by `factor` (never enlarge it), averaging over the pixels."""
    height, width = field.shape[:2]
    factor = max(1.0, factor)
    size = (max(LEAST_SIDE, round(width / factor)), max(LEAST_SIDE, round(height / factor)))
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_AREA), np.float32)


def grow(field: Field, like: Field) -> Field:
    """Enlarge a smooth `field` to the height and width of `like`."""
    size = (like.shape[1], like.shape[0])
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_LINEAR), np.float32)


def ramp(field: Field, start: float, end: float) -> Field:
    """Rise smoothly from 0 at `start` to 1 at `end` (smoothstep)."""
    t = ((field - start) / (end - start)).clip(0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def slope(field: Field) -> tuple[Field, Field]:
    """Return the derivatives of `field` `(H, W)` by x and by y, per px."""
    along = (cv2.Sobel(field, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    x, y = (np.asarray(part, np.float32) for part in along)
    return x, y
