"""Scene: the cartoon head laid back into the photo, at its place, size and tilt."""

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.pipeline.alignment import Alignment
from photo2cartoon.pipeline.faces.warp import apply, compose, inverse

# Hair and shoulders leave the cartoon's square somewhere. Around those places the drawing fades
# into the photo, over these shares of the square's side: at its top and at its bottom.
FADE = 0.12, 0.2
CORE = 0.25, 0.85  # mattes that count as 0 and as 1: both inside the hair line's soft edge
MARGIN_PX = 3
BAND_PX = 1 << 18  # pixels drawn at once


def lay_back(
    image: NDArray[np.uint8],
    cartoon: NDArray[np.float32],
    matte: NDArray[np.float32],
    alignment: Alignment,
) -> NDArray[np.uint8]:
    """Draw one head into a photo.

    Args:
        image: the photo, `(H, W, 3)` uint8 RGB; not changed.
        cartoon: the generator's output, `(S, S, 3)` float32 RGB, 0..255.
        matte: `(S, S)` float32, 0..1.
        alignment: where the square lies in `image`.

    Returns:
        A new image like `image`.
    """
    size = matte.shape[0]
    to_photo = alignment.to_photo(size)
    corners = apply(to_photo, np.array([[0, 0], [size, 0], [0, size], [size, size]]))
    limits = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(corners.min(axis=0)) - MARGIN_PX, 0, limits).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + MARGIN_PX, 0, limits).astype(int)
    result = image.copy()
    part = result[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        return result
    to_part = compose(np.array([[1, 0, -low[0]], [0, 1, -low[1]]], float), to_photo)
    layers, to_part = _shrink(np.dstack([cartoon, _weight(matte)]), to_part)
    rows = max(1, BAND_PX // part.shape[1])
    for top in range(0, part.shape[0], rows):  # as float32 in four layers, all of it is too much
        band = part[top : top + rows]
        to_band = compose(np.array([[1, 0, 0], [0, 1, -top]], float), to_part)
        placed = _warp(layers, to_band, (band.shape[1], band.shape[0]))
        weight = placed[:, :, 3:].clip(0, 1)
        band[:] = (placed[:, :, :3].clip(0, 255) * weight + band * (1 - weight)).round()
    return result


def _weight(matte: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the drawing's weight, `(S, S)` 0..1: the matte's core, fading where it is cut off."""
    size = matte.shape[0]
    leaves = np.pad(matte > CORE[0], 1, mode="edge").astype(np.uint8)  # by the frame of one pixel
    leaves[1:-1, 1:-1] = 0
    distance = cv2.distanceTransform(1 - leaves, cv2.DIST_L2, 5)[1:-1, 1:-1] / size
    reach = np.linspace(*FADE, size)[:, None]
    near = (distance / reach).clip(0, 1)
    core = ((matte - CORE[0]) / (CORE[1] - CORE[0])).clip(0, 1)
    weight = core * near * near * (3 - 2 * near)  # smoothstep: the fade has no visible start
    return np.asarray(weight, np.float32)


def _shrink(
    layers: NDArray[np.float32], to_part: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Average areas of `(S, S, 4)` if the affine map shrinks; return layers, and the map's rest."""
    shrink = np.sqrt(abs(np.linalg.det(to_part[:, :2])))
    if shrink >= 1:
        return layers, to_part
    side = max(1, round(layers.shape[0] * shrink))
    scale = layers.shape[0] / side
    layers = cv2.resize(layers, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    shift = (scale - 1) / 2
    return layers, compose(to_part, np.array([[scale, 0, shift], [0, scale, shift]]))


def _warp(
    layers: NDArray[np.float32], to_band: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Warp `(S, S, 4)` by an affine map into a picture of `size`, width and height."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(layers, inverse(to_band), size, flags=flags)
    return warped.astype(np.float32, copy=False)
