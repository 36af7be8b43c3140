"""The cutout: a person's firm matte, the outline along it, and colours that nothing bleeds into.

The comic teacher cuts the person out like this before it draws. Whatever learned from it is fed a
`cutout`, and its drawing gets the `outline` afterwards, which no network has to guess.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon_models.fields import Field, blur, ramp

UNITS = 512  # of a portrait: its side
SOFT = 1.2  # units: the matte is smoothed by as much before it is cut
CUT = (0.65, 0.88)  # of the matte: background below, person above
SURE = 0.95  # of the firm matte: pixels whose colours are the person's alone
BRIDGE = 11.0  # units: what hangs on the person by less is an island
SCRAP = 0.2  # an island smaller than this part of the largest one is background
HOLE = 0.006  # a hole smaller than this part of the picture is filled
REACH = 6.0  # units around the border where the person's colours replace mixed ones
OUTLINE = 3.1  # units: how wide the outline is, inside the firm matte
INK = 0.2  # lines are the local colour with this part of its light
BLACK = 0.012  # and never quite black


def firm(matte: Field, unit: float) -> Field:
    """Make a network's soft matte firm: no scraps of background, no pinholes, a narrow border.

    Args:
        matte: `(H, W)` float32, 0 (background) .. 1 (person).
        unit: px (`fields`).

    Returns:
        The same, nearly everywhere 0 or 1.
    """
    person = ramp(blur(matte, SOFT * unit), *CUT)
    width = 2 * round(BRIDGE * unit / 2) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    solid = cv2.morphologyEx(np.asarray(person > 0.5, np.uint8), cv2.MORPH_OPEN, disc)
    islands, sizes = _parts(np.asarray(solid, np.uint8))
    if sizes.size > 1:
        kept = _mask(islands, sizes >= SCRAP * sizes[1:].max())
        person = person * cv2.dilate(kept, disc)
    holes, sizes = _parts(np.asarray(person < 0.5, np.uint8))
    pinholes = _mask(holes, sizes < HOLE * person.size)
    if not pinholes.any():
        return person
    filled = cv2.dilate(pinholes, np.ones((5, 5), np.uint8))
    return np.maximum(person, blur(np.asarray(filled, np.float32), 1))


def cut_out(photo: NDArray[np.uint8], person: Field, unit: float) -> NDArray[np.uint8]:
    """Put the person on white, with the person's own colours where the border mixes both.

    Args:
        photo: `(H, W, 3)` uint8 RGB, with its background.
        person: the firm matte, `(H, W)`.
        unit: px (`fields`).

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    sure = np.asarray(person > SURE, np.uint8)
    size = (2 * max(1, round(REACH * unit)) + 1,) * 2
    masked = cv2.copyTo(photo, sure)
    parts = (cv2.boxFilter(part, cv2.CV_32S, size, normalize=False) for part in (masked, sure))
    border = np.flatnonzero((person > 0) & (sure == 0))
    sums, near, own, weight = (_pixels(part)[border] for part in (*parts, photo, person))
    carried = np.where(near > 0, sums / np.maximum(near, 1), own)
    result = np.asarray(cv2.copyTo(photo, sure, np.full(photo.shape, 255, np.uint8)), np.uint8)
    _pixels(result)[border] = carried * weight + 255 * (1 - weight)
    return result


def outline(person: Field, unit: float) -> Field:
    """Return the ink along the inside of the firm matte `person`, `(H, W)`, 0..1.

    It reaches as far out as the `cover`, so that no pixel of a coloured background is left between
    the two. None along the picture's own border: there the person goes on.
    """
    inside = (person > 0.5).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    distance = np.minimum(distance, 4 * OUTLINE * unit)  # it is huge where there is no outside
    depth = blur(np.asarray(distance, np.float32), unit) / np.float32(OUTLINE * unit)
    lines = np.maximum(1 - depth * depth * depth, np.float32(0))
    return np.asarray(lines * (cover(person) > np.float32(0.05)), np.float32)


def ink(painted: Field, lines: Field) -> Field:
    """Draw `lines` `(H, W)`, 0..1, into colours `(H, W, 3)`, sRGB 0..1: the same, darkened."""
    inked = np.array(painted, np.float32, order="C")
    at = np.flatnonzero(lines)
    colours, weight = _pixels(inked)[at], _pixels(lines)[at]
    _pixels(inked)[at] = colours + (colours * INK + BLACK - colours) * weight
    return inked


def cover(person: Field) -> Field:
    """Return how much of each pixel an outlined drawing shows: the firm matte, a pixel wider."""
    return np.asarray(cv2.dilate(person, np.ones((3, 3))), np.float32)


def _pixels(picture: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous picture `(H, W)` or `(H, W, C)` as rows, `(H * W, C)`: the same memory.

    A few pixels are taken from rows many times faster than from a picture.
    """
    return picture.reshape(picture.shape[0] * picture.shape[1], -1)


def _parts(mask: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Number the connected parts of `mask` from 1, the rest is 0; return that and their sizes."""
    _, labels = cv2.connectedComponents(mask, connectivity=4)
    return np.asarray(labels, np.int32), np.bincount(labels.ravel())


def _mask(labels: NDArray[np.int32], chosen: NDArray[np.bool]) -> NDArray[np.uint8]:
    """Mark the chosen parts and the pixels beside them with 1; part 0, the rest, never is."""
    marks = chosen.astype(np.uint8)
    marks[0] = 0
    return np.asarray(cv2.dilate(marks.take(labels), np.ones((3, 3), np.uint8)), np.uint8)


def carry_outwards(colours: Field, person: Field) -> Field:
    """Carry the person's colours into the background.

    What smooths or compares neighbours afterwards then finds neither white nor background there.

    Args:
        colours: `(H, W, C)`.
        person: the firm matte, `(H, W)`.

    Returns:
        `(H, W, C)`: as it was where the person is for sure; means of the nearest sure pixels
        elsewhere.
    """
    sure = np.asarray(person > SURE, np.float32)
    if not sure.any():
        return colours
    result = colours * sure[:, :, None]
    known = sure > 0
    radius = 2
    while not known.all() and radius < 2 * max(person.shape):
        size = (2 * radius + 1, 2 * radius + 1)
        weight = cv2.blur(sure, size)
        near = cv2.blur(colours * sure[:, :, None], size)
        todo = ~known & (weight > 1e-3)
        result[todo] = near[todo] / weight[todo][:, None]
        known |= todo
        radius *= 2
    result[~known] = colours[sure > 0].mean(axis=0)
    return np.asarray(result, np.float32)
