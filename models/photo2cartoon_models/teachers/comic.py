"""Comic: a photo in, a bold comic drawing out. No network, no training picture.

It is this project's own and free for any use: what a generator learns from it owes nothing to
anybody's drawings. A drawing of 512 px takes most of a second on one core, so this is a teacher and
not a serving stage. What was tried on the way to it stands in `models/LOG.md`, "The comic teacher".

Almost everything is local: a pixel depends on what lies within about 100 units (`fields`), so that
a convolutional network can learn it and a whole photo is drawn as a portrait is. Two things are
not, the matte's islands and the size of a stroke, which is that of the whole line.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon_models import cutout
from photo2cartoon_models.fields import Field, smooth
from photo2cartoon_models.teachers import features, ink
from photo2cartoon_models.teachers.flats import paint
from photo2cartoon_models.teachers.tone import calm_gloss, expose, warm_shades

STRAND = 14.0  # L by which a strand of light is lighter


def draw(
    photo: NDArray[np.uint8],
    matte: NDArray[np.float32] | None = None,
    *,
    unit: float | None = None,
    points: features.Points | None = None,
    outlined: bool = True,
) -> NDArray[np.uint8]:
    """Draw a photo.

    Args:
        photo: `(H, W, 3)` uint8 RGB, of any size: a portrait, or any photo. With a matte, best
            the crop with its background, not the portrait on white, whose border is mixed with it.
        matte: `(H, W)` float32, 0 (background) .. 1 (person). With it the person is drawn on
            white, outlined, and without the matte's scraps of background. Along the picture's
            border there is no outline.
        unit: length in px by which lines and details are measured: 1/512 of the side of an aligned
            portrait, or 1/200 of the width of a face. None: 1/512 of the photo's shorter side.
            Where faces are small in a photo give less, or they lose their eyes; below .3 px lines
            get ragged.
        points: the face's `left_eye`, `right_eye` and `mouth`, contours of (x, y) in px, for eyes
            that look and for noses and lips that do not vanish (`features`). None: without.
        outlined: whether the person gets its outline here, or from whoever asks (`cutout`).

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ValueError: `photo` or `matte` has another shape, or `unit` is not positive.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise ValueError(f"a photo (H, W, 3), not {photo.shape}")
    if matte is not None and matte.shape != photo.shape[:2]:
        raise ValueError(f"a matte {photo.shape[:2]}, not {matte.shape}")
    unit = min(photo.shape[:2]) / 512 if unit is None else unit
    if not unit > 0:
        raise ValueError(f"unit > 0 px, not {unit}")
    colours = photo.astype(np.float32) / np.float32(255)
    if matte is None:
        return _to_bytes(_draw(colours, unit, points))
    person = cutout.firm(matte, unit)
    drawn = _draw(cutout.carry_outwards(colours, person), unit, points)
    if outlined:
        drawn = cutout.ink(drawn, cutout.outline(person, unit))
    cover = cutout.cover(person)[:, :, None]
    return _to_bytes(np.asarray(drawn * cover + (1 - cover), np.float32))


def _draw(colours: Field, unit: float, points: features.Points | None) -> Field:
    """Draw `colours` `(H, W, 3)`, sRGB 0..1; the same comes back."""
    exposed = expose(np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2Lab), np.float32), unit)
    lab = exposed.copy()
    lab[:, :, 0] = calm_gloss(lab[:, :, 0], unit)
    fine = smooth(lab, 7.0, 3.5 * unit)
    flats = paint(fine, unit)
    flats[:, :, 1:] = warm_shades(flats[:, :, 1:], unit)

    even = ink.contrast(fine[:, :, 0], unit)
    response = ink.respond(features.strengthen(even, points, unit) if points else even, unit)
    lines = ink.strokes(response, unit) * (1 - ink.catch_lights(lab[:, :, 0], unit))
    flats[:, :, 0] += STRAND * ink.strands(response, fine[:, :, 0], unit)
    flats[:, :, 0] = flats[:, :, 0].clip(0, 100)
    if points:
        flats, lines = features.open_eyes(flats, lines, exposed, points, unit)
    painted = np.asarray(cv2.cvtColor(flats, cv2.COLOR_Lab2RGB), np.float32).clip(0, 1)
    return cutout.ink(painted, lines)


def _to_bytes(colours: Field) -> NDArray[np.uint8]:
    return np.asarray((colours.clip(0, 1) * 255).round(), np.uint8)
