"""One way to cut a turned square out of an image, used for the mesh's view and for the crop."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

RIM = 3  # px: how much of a border decides how it goes on
SMOOTHED = 0.004  # of the square's side: sigma along the border


def inverse(matrix: Matrix) -> Matrix:
    """Invert an affine map `(2, 3)`."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def apply(matrix: Matrix, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Map points `(N, 2)`, x before y, by an affine map `(2, 3)`."""
    mapped: NDArray[np.float64] = points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return mapped


@dataclass(frozen=True, slots=True)
class View:
    """The part of an image that a warp reads, shrunk to about the scale that the warp gives it.

    A bilinear warp that shrinks skips pixels and flickers; averaging areas first avoids that.
    Because only the needed part is shrunk, the cost depends on the face's size, not the photo's.

    Attributes:
        pixels: `(h, w, 3)` uint8 RGB.
        from_image: `(2, 3)`: image pixels to view pixels, pixel centres at whole numbers.
    """

    pixels: NDArray[np.uint8]
    from_image: Matrix


def cut_view(image: NDArray[np.uint8], to_image: Matrix, size: int) -> View:
    """Cut out what a square of `size` px sees of `image` through `to_image`.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        to_image: `(2, 3)`: pixels of the square to image pixels.
        size: side of the square, px.
    """
    corners = apply(to_image, _corners(size))
    height, width = image.shape[:2]
    low = np.clip(np.floor(corners.min(axis=0)) - 2, 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 3, low + 1, [width, height]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    shrink = np.sqrt(abs(np.linalg.det(to_image[:, :2])))  # image pixels per square pixel
    shrunk = [max(1, round(side / shrink)) for side in (part.shape[1], part.shape[0])]
    if shrink <= 1:
        scale = np.ones(2)
    else:
        scale = np.array(shrunk) / [part.shape[1], part.shape[0]]
        part = cv2.resize(part, shrunk, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    offset = (0.5 - low) * scale - 0.5  # centres: v = (x - low + 0.5) * scale - 0.5
    return View(part, np.column_stack([np.diag(scale), offset]))


def _corners(size: int) -> NDArray[np.float64]:
    """Corners of a square of `size` px and of the pixels around it, `(4, 2)`."""
    return np.array([[-1.0, -1.0], [size, -1.0], [-1.0, size], [size, size]])


def extend(view: View, to_image: Matrix, size: int) -> View:
    """Continue a view as far as a square of `size` px sees beyond it.

    Above the photo by its mirror image: hair goes on as hair, where a matte network would take
    stripes for background, and end the head along the cut. On the other sides by the colours of
    the border, so that a shoulder goes on as a shoulder, without a second chin. They are smoothed a
    little along the border, or grain would become stripes.

    Args:
        view: what `cut_view` gave for the same square.
        to_image: `(2, 3)`: pixels of the square to image pixels.
        size: side of the square, px.
    """
    corners = apply(compose(view.from_image, to_image), _corners(size))
    height, width = view.pixels.shape[:2]
    left, above = (int(beyond) for beyond in np.ceil(-corners.min(axis=0)).clip(0))
    right, below = np.ceil(corners.max(axis=0) - [width - 1, height - 1]).clip(0).astype(int)
    if not (left or above or right or below):
        return view
    sides = (0, int(below), left, int(right))
    mirrored = cv2.copyMakeBorder(view.pixels, above, 0, 0, 0, cv2.BORDER_REFLECT_101)
    pixels = np.asarray(cv2.copyMakeBorder(mirrored, *sides, cv2.BORDER_REPLICATE), np.uint8)
    sigma, bottom, end = SMOOTHED * size, above + height, left + width
    rows = pixels[:bottom]
    rows[:, :left] = _smoothed(rows[:, left : left + RIM], 1, sigma)
    rows[:, end:] = _smoothed(rows[:, max(left, end - RIM) : end], 1, sigma)
    pixels[bottom:] = _smoothed(pixels[max(above, bottom - RIM) : bottom], 0, sigma)
    offset = view.from_image[:, 2] + (left, above)
    return View(pixels, np.column_stack([view.from_image[:, :2], offset]))


def _smoothed(rim: NDArray[np.uint8], axis: int, sigma: float) -> NDArray[np.uint8]:
    """Average a rim across its border, `axis`, and blur that line along it by `sigma` px."""
    line = rim.mean(axis=axis, keepdims=True, dtype=np.float32)
    blurred = cv2.GaussianBlur(line, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred.reshape(line.shape).round(), np.uint8)


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """Return the affine map that applies `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def warp_square(view: View, to_image: Matrix, size: int, border: int) -> NDArray[np.uint8]:
    """Fill a square `(size, size, 3)` from `view`; `border` is one of OpenCV's `BORDER_` modes."""
    warped = cv2.warpAffine(
        view.pixels,
        compose(view.from_image, to_image),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
    return warped.astype(np.uint8, copy=False)
