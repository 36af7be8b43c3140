"""Features: eyes and nose stressed in the photo before it is drawn, as a draughtsman stresses them.

A generator that draws pixel by pixel cannot enlarge an eye, tell a dark iris from a shadow, or a
faint nose from a blemish. The landmarks can. Each eye is enlarged a little, its white becomes light
and its iris dark, in its own colour; the contrast of a nose that hardly shows is raised. Constants
were chosen by eye on portraits of all kinds (docs/method.md, "Features").
"""

import cv2
import numpy as np
from numpy.typing import NDArray

EYE = 16  # points of each eye's contour, which come first (`facemesh.FEATURES`); then the mouth
CORNERS = (0, 8)  # of these: the outer and the inner corner

ENLARGED = 1.15
REACH = 1.15  # radius within which an eye is enlarged, by its width
LEAST = 8.0  # px: a narrower eye is left as it is
DARKEST = 18.0  # L of the darkest part of an eye, at most
LIGHTEST = (6.0, 18.0, 92.0)  # L of its white: above the skin's, above the photo's at most, in all
UNSURE, SURE = 8.0, 18.0  # L between white and iris: less is a closed eye, or one in the dark
RING = 0.5  # of an eye's width: how far around it the skin is looked at

NOSE = (0.36, 0.20, 0.58)  # half width by the eyes apart; half height, place by eyes to mouth
CORE = 0.8  # of the nose: where its contrast is measured
DETAIL = (0.02, 4.0, 0.09)  # by the eyes apart: what is smoothed, up to so many L; what is compared
VISIBLE = 8.0  # L, root mean square: contrast of a nose that a generator draws
MOST = 2.5  # by which contrast is raised

Image = NDArray[np.uint8]
Points = NDArray[np.floating]
Field = NDArray[np.float32]


def stress(pixels: Image, features: Points) -> Image:
    """Enlarge the eyes of a face, spread their lightness, and bring out a faint nose.

    Args:
        pixels: `(H, W, 3)` uint8 RGB.
        features: `(33, 2)` as in `Face.features`, px of `pixels`, x before y.

    Returns:
        A copy, `(H, W, 3)` uint8 RGB; a face whose eyes are narrower than 8 px is as it was, and so
        is whatever lies outside.
    """
    stressed = pixels.copy()
    features = np.asarray(features, np.float32)
    eyes = [features[:EYE], features[EYE : 2 * EYE]]
    if any(_width(eye) >= LEAST for eye in eyes):
        left, right = (eye.mean(axis=0) for eye in eyes)
        _bring_out_nose(stressed, left, right, features[2 * EYE])
    for eye in eyes:
        if _width(eye) >= LEAST:
            _open(stressed, eye)
    return stressed


def _width(eye: Field) -> float:
    return float(np.linalg.norm(eye[CORNERS[1]] - eye[CORNERS[0]]))


def _around(pixels: Image, points: Field, reach: float) -> tuple[Image, Field]:
    """The part of `pixels` within `reach` px of the box of `points`, a view, and its corner."""
    low = np.floor(points.min(axis=0) - reach).clip(0, pixels.shape[1::-1]).astype(int)
    high = np.ceil(points.max(axis=0) + reach + 1).clip(0, pixels.shape[1::-1]).astype(int)
    return pixels[low[1] : high[1], low[0] : high[0]], low.astype(np.float32)


def _open(pixels: Image, eye: Field) -> None:
    """Enlarge one eye, by its contour `(16, 2)`, and spread its lightness, in place."""
    centre, width = eye.mean(axis=0), _width(eye)
    part, corner = _around(pixels, centre[None], REACH * width)
    if min(part.shape[:2]) < LEAST:
        return
    part[:] = _enlarge(part, centre - corner, REACH * width)
    part, corner = _around(pixels, centre + (eye - centre) * ENLARGED, RING * width / 2 + 2)
    if min(part.shape[:2]) >= LEAST:
        part[:] = _spread(part, centre + (eye - centre) * ENLARGED - corner, width)


def _enlarge(part: Image, centre: Field, reach: float) -> Image:
    """Enlarge `part` `(h, w, 3)` around `centre`, less and less up to `reach`, px."""
    height, width = part.shape[:2]
    right = np.arange(width, dtype=np.float32)[None, :] - centre[0]
    down = np.arange(height, dtype=np.float32)[:, None] - centre[1]
    near = (1 - (right * right + down * down) / np.float32(reach * reach)).clip(0, 1)
    factor = 1 - np.float32(1 - 1 / ENLARGED) * near * near
    x, y = (np.asarray(centre[k] + way * factor, np.float32) for k, way in enumerate((right, down)))
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(part, x, y, cv2.INTER_CUBIC, borderMode=border), np.uint8)


def _spread(part: Image, eye: Field, width: float) -> Image:
    """Spread the lightness within the contour of an eye from dark to light."""
    inside = np.zeros(part.shape[:2], np.uint8)
    sixteenths = (cv2.convexHull(eye) * 16).round().astype(np.int32)
    cv2.fillConvexPoly(inside, sixteenths, 1, cv2.LINE_8, 4)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(RING * width / 2) + 1,) * 2)
    ring = cv2.dilate(inside, disc) > inside
    if inside.sum() < LEAST or not ring.any():
        return part
    lab = _to_lab(part)
    light = lab[:, :, 0]
    dark, white = (float(level) for level in np.percentile(light[inside > 0], (5, 95)))
    span = white - dark
    sure = min(1.0, max(0.0, (span - UNSURE) / (SURE - UNSURE)))
    if not sure:
        return part
    above_skin, above, most = LIGHTEST
    skin = float(np.percentile(light[ring], 70))
    lightest = min(max(white, skin + above_skin), white + above, max(white, most))
    darkest = min(dark, DARKEST)
    spread = darkest + (lightest - darkest) * ((light - dark) / span).clip(0, 1)
    share = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), max(0.5, width / 50)) * sure
    lab[:, :, 0] += (spread - light) * share
    return _to_rgb(lab)


def _bring_out_nose(pixels: Image, left: Field, right: Field, mouth: Field) -> None:
    """Raise the contrast of a faint nose, in place, by the middles of both eyes and the mouth."""
    apart, middle = right - left, (left + right) / 2
    down = mouth - middle
    width, height = float(np.hypot(*apart)), float(np.hypot(*down))
    radii = np.array([NOSE[0] * width, NOSE[1] * height])
    smoothed, tolerance, compared = DETAIL[0] * width, DETAIL[1], DETAIL[2] * width
    centre = np.asarray(middle + NOSE[2] * down, np.float32)
    part, corner = _around(pixels, centre[None], float(radii.max()) + 2 * compared)
    if min(part.shape[:2]) < LEAST:
        return
    turn = float(np.degrees(np.arctan2(apart[1], apart[0])))
    place = tuple(float(value) for value in centre - corner)
    nose, core = np.zeros((2, *part.shape[:2]), np.uint8)
    cv2.ellipse(nose, (place, tuple(2 * radii), turn), 1, cv2.FILLED)
    cv2.ellipse(core, (place, tuple(2 * CORE * radii), turn), 1, cv2.FILLED)
    if not core.any():
        return
    lab = _to_lab(part)
    light = np.ascontiguousarray(lab[:, :, 0])
    fine = cv2.bilateralFilter(light, 0, tolerance, smoothed)  # not the grain of a photo
    detail = fine - cv2.GaussianBlur(light, (0, 0), compared)
    contrast = float(np.sqrt(np.square(detail[core > 0]).mean()))
    gain = min(VISIBLE / max(contrast, 0.1) - 1, MOST)
    if gain > 0:
        share = cv2.GaussianBlur(nose.astype(np.float32), (0, 0), compared / 2)
        lab[:, :, 0] = (light + gain * share * detail).clip(0, 100)
        part[:] = _to_rgb(lab)


def _to_lab(part: Image) -> Field:
    levels = part.astype(np.float32) / np.float32(255)
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_RGB2Lab), np.float32)


def _to_rgb(lab: Field) -> Image:
    colours = np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.float32)
    return np.asarray((colours.clip(0, 1) * 255).round(), np.uint8)
