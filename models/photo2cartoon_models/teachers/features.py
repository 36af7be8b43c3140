"""Features: eyes that look at somebody, and noses and lips that do not vanish.

A stroke's size cannot tell an iris from a wrinkle, nor a faint nose from a blemish; landmarks can.
The teacher alone gets them. What learns from it has to find eyes and noses by itself.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from photo2cartoon_models.fields import Field, blur, positions, ramp, smooth

EYES = ("left_eye", "right_eye")
MOUTH = "mouth"
NEAR = 9.0  # units: what a nose or a lip is compared with
NOSE = (0.62, 0.36, 0.66)  # half width by the eyes apart; half height, place by eyes to mouth
NOSE_GAIN, LIPS_GAIN = 0.9, 0.3  # contrast there is so much greater
LIPS = 5.0  # units around the mouth's contour

RIM = (4.0, 9.0)  # units around an eye where its skin is measured
EVEN = (10.0, 22.0)  # L between white and iris: less is an eye in the dark, left as it was
IRIS = 15.0  # L of the darkest part of an eye, at most
WHITE = (6.0, 22.0, 90.0)  # L of the lightest: above the skin's, above the photo's at most, in all
DEEP = 1.15  # exponent: what lies between is rather dark
COLOUR = 1.35  # chroma within an eye
PUPIL = (0.12, 0.35)  # of the way from dark to light: ink stays below
OPEN = 0.24  # height of an eye by its width: a narrower one gets no catch-light
RADIUS = 0.2  # of an iris, by an eye's width
CATCH = (-0.30, -0.38, 0.24, 14.0)  # place and radius by the iris's radius; L above the white

Points = Mapping[str, Sequence[Sequence[float]]]


def strengthen(even: Field, points: Points, unit: float) -> Field:
    """Raise the contrast around nose and lips.

    Args:
        even: contrast, `(H, W)` (`ink.contrast`).
        points: `left_eye`, `right_eye` and `mouth`: contours, (x, y) each, px.
        unit: px (`fields`).

    Returns:
        The same.
    """
    left, right, mouth = (np.asarray(points[name], np.float32) for name in (*EYES, MOUTH))
    middle, apart = (left.mean(0) + right.mean(0)) / 2, right.mean(0) - left.mean(0)
    down, width = mouth.mean(0) - middle, float(np.hypot(*apart))
    nose = np.zeros(even.shape, np.uint8)
    x, y = (float(part) for part in middle + NOSE[2] * down)
    radii = (2 * NOSE[0] * width, 2 * NOSE[1] * float(np.hypot(*down)))
    turn = float(np.degrees(np.arctan2(apart[1], apart[0])))
    cv2.ellipse(nose, ((x, y), radii, turn), 1, cv2.FILLED)
    gain = NOSE_GAIN * blur(nose.astype(np.float32), 5 * unit)
    gain = np.maximum(gain, LIPS_GAIN * blur(_inside(even, mouth, LIPS * unit), 2.5 * unit))
    return np.asarray(even + (even - blur(even, NEAR * unit)) * gain, np.float32)


def open_eyes(
    flats: Field, lines: Field, lab: Field, points: Points, unit: float
) -> tuple[Field, Field]:
    """Draw both eyes: a light white, a dark iris of the eye's own colour, a catch-light.

    Args:
        flats: what is painted so far, `(H, W, 3)`, Lab.
        lines: the ink, `(H, W)`, 0..1.
        lab: the exposed photo, `(H, W, 3)`, Lab.
        points: as for `strengthen`.
        unit: px (`fields`).

    Returns:
        Flats and lines.
    """
    for name in EYES:
        flats, lines = _open(flats, lines, lab, np.asarray(points[name], np.float32), unit)
    return flats, lines


def _open(flats: Field, lines: Field, lab: Field, eye: Field, unit: float) -> tuple[Field, Field]:
    inside = _inside(lines, eye)
    rim = _inside(lines, eye, RIM[1] * unit) - _inside(lines, eye, RIM[0] * unit)
    ys, xs = np.nonzero(inside > 0.5)
    if ys.size < 8 or not (rim > 0.5).any():
        return flats, lines
    fine = smooth(lab, 5.0, 1.2 * unit)
    dark, light = (float(part) for part in np.percentile(lab[ys, xs, 0], (8, 92)))
    span = max(light - dark, 12.0)
    part = np.asarray(((fine[:, :, 0] - dark) / span).clip(0, 1), np.float32)
    skin = float(np.percentile(lab[:, :, 0][rim > 0.5], 70))
    white = min(max(light, skin + WHITE[0]), light + WHITE[1], max(light, WHITE[2]))
    iris = min(dark, IRIS)
    eyeball = np.dstack([iris + (white - iris) * part**DEEP, fine[:, :, 1:] * COLOUR])
    narrower = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=max(1, round(unit)))
    sure = float(ramp(np.array([light - dark], np.float32), *EVEN)[0])
    share = sure * blur(np.asarray(narrower, np.float32), unit)
    flats = np.asarray(flats + (eyeball - flats) * share[:, :, None], np.float32)
    lines = np.asarray(lines * (1 - share * ramp(part, *PUPIL)), np.float32)

    weights = (1 - part[ys, xs] / 0.45).clip(0, None)
    width, height = np.ptp(eye, axis=0)
    if sure < 0.5 or height < OPEN * width or not weights.sum():
        return flats, lines
    radius = RADIUS * float(width)
    x, y = positions(*lines.shape)
    away = np.hypot(
        x - np.average(xs, weights=weights) - CATCH[0] * radius,
        y - np.average(ys, weights=weights) - CATCH[1] * radius,
    )
    spot = (max(CATCH[2] * radius, 0.9 * unit) + 0.7 - away).clip(0, 1) * (inside > 0.3)
    glint = np.array([min(97.0, white + CATCH[3]), 0, 0], np.float32)
    flats = np.asarray(flats + (glint - flats) * spot[:, :, None], np.float32)
    return flats, np.asarray(lines * (1 - spot), np.float32)


def _inside(like: Field, contour: Field, around: float = 0) -> Field:
    """1 within the hull of a contour and `around` px of it, 0 elsewhere, `(H, W)`."""
    hull = (cv2.convexHull(contour) * 16).round().astype(np.int32)  # sixteenths of a pixel
    mask = np.zeros(like.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, hull, 1, lineType=cv2.LINE_8, shift=4)
    if around:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(around) + 1,) * 2)
        mask = np.asarray(cv2.dilate(mask, disc), np.uint8)
    return mask.astype(np.float32)
