"""Eyes: opened in the photo before it is drawn, as a draughtsman does who wants a face to look.

A generator that draws pixel by pixel cannot enlarge an eye, nor tell a dark iris from a shadow. The
landmarks can: each eye is enlarged a little, its white becomes light and its iris dark, in its own
colour. Constants were chosen by eye on portraits of all kinds (docs/method.md, "Eyes").
"""

import cv2
import numpy as np
from numpy.typing import NDArray

ENLARGED = 1.15
REACH = 1.15  # radius within which an eye is enlarged, by its width
LEAST = 8.0  # px: a narrower eye is left as it is
DARKEST = 18.0  # L of the darkest part of an eye, at most
LIGHTEST = (6.0, 18.0, 92.0)  # L of its white: above the skin's, above the photo's at most, in all
UNSURE, SURE = 8.0, 18.0  # L between white and iris: less is a closed eye, or one in the dark
RING = 0.5  # of an eye's width: how far around it the skin is looked at
CORNERS = (0, 8)  # of the points of an eye (`facemesh.LIDS`): outer and inner

Image = NDArray[np.uint8]
Points = NDArray[np.floating]


def open_eyes(pixels: Image, lids: Points) -> Image:
    """Enlarge both eyes of a face, and spread their lightness.

    Args:
        pixels: `(H, W, 3)` uint8 RGB.
        lids: `(2, 16, 2)`, the contours of both eyes (`Face.lids`), px of `pixels`, x before y.

    Returns:
        A copy, `(H, W, 3)` uint8 RGB; eyes narrower than 8 px and those outside are as they were.
    """
    opened = pixels.copy()
    for contour in np.asarray(lids, np.float32):
        width = float(np.linalg.norm(contour[CORNERS[1]] - contour[CORNERS[0]]))
        centre, reach = contour.mean(axis=0), REACH * width
        low = np.floor(centre - reach).astype(int).clip(0)
        high = np.ceil(centre + reach + 1).astype(int).clip(0, pixels.shape[1::-1])
        if width < LEAST or (high - low).min() < LEAST:
            continue
        part = np.s_[low[1] : high[1], low[0] : high[0]]
        around = _enlarge(opened[part], centre - low, reach)
        opened[part] = around
        _spread(opened, np.asarray(centre + (contour - centre) * ENLARGED, np.float32), width)
    return opened


def _enlarge(part: Image, centre: Points, reach: float) -> Image:
    """Enlarge `part` `(h, w, 3)` around `centre`, less and less up to `reach`, px."""
    height, width = part.shape[:2]
    right = np.arange(width, dtype=np.float32)[None, :] - np.float32(centre[0])
    down = np.arange(height, dtype=np.float32)[:, None] - np.float32(centre[1])
    near = (1 - (right * right + down * down) / np.float32(reach * reach)).clip(0, 1)
    factor = 1 - np.float32(1 - 1 / ENLARGED) * near * near
    x, y = (np.asarray(centre[k] + way * factor, np.float32) for k, way in enumerate((right, down)))
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(part, x, y, cv2.INTER_CUBIC, borderMode=border), np.uint8)


def _spread(pixels: Image, contour: NDArray[np.float32], width: float) -> None:
    """Spread the lightness within `contour` `(16, 2)` of `pixels` `(H, W, 3)`, in place."""
    around = RING * width / 2 + 2
    low = np.floor(contour.min(axis=0) - around).astype(int).clip(0)
    high = np.ceil(contour.max(axis=0) + around).astype(int).clip(0, pixels.shape[1::-1])
    if (high - low).min() < LEAST:
        return
    part = pixels[low[1] : high[1], low[0] : high[0]]
    eye = np.zeros(part.shape[:2], np.uint8)
    hull = cv2.convexHull(contour - low.astype(np.float32))
    sixteenths = (hull * 16).round().astype(np.int32)
    cv2.fillConvexPoly(eye, sixteenths, 1, cv2.LINE_8, 4)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(RING * width / 2) + 1,) * 2)
    ring = cv2.dilate(eye, disc) > eye
    if eye.sum() < LEAST or not ring.any():
        return
    lab = cv2.cvtColor(part.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab)
    light = lab[:, :, 0]
    dark, white = (float(level) for level in np.percentile(light[eye > 0], (5, 95)))
    span = white - dark
    sure = min(1.0, max(0.0, (span - UNSURE) / (SURE - UNSURE)))
    if not sure:
        return
    above_skin, above, most = LIGHTEST
    skin = float(np.percentile(light[ring], 70))
    lightest = min(max(white, skin + above_skin), white + above, max(white, most))
    darkest = min(dark, DARKEST)
    spread = darkest + (lightest - darkest) * ((light - dark) / span).clip(0, 1)
    share = cv2.GaussianBlur(eye.astype(np.float32), (0, 0), max(0.5, width / 50)) * sure
    lab[:, :, 0] += (spread - light) * share
    colours = np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.float32)
    part[:] = (colours.clip(0, 1) * 255).round()
