"""Flats: the even areas of colour between the lines.

Sources: Winnemoeller, Olsen and Gooch 2006, "Real-time video abstraction" (bilateral smoothing
again and again; steps of lightness that are as sharp as the photo is there).
"""

import numpy as np

from photo2cartoon_models.fields import (
    Field,
    blur,
    positions,
    ramp,
    sample,
    shrink,
    slope,
    smooth,
)

STEP = 100 / 6  # L from one flat to the next; a flat ends at white
SHARPEST = 12.0  # by how much the exponent of a step rises in steep places
STEEP = 0.6  # L per unit: half of that
PASSES = 4  # of smoothing, on half the pixels
TOLERANCE, REACH = 8.0, 4.5  # of each: Lab, cells of 2 units
HUE_PASSES = 3  # of smoothing the colours further, on a sixteenth of the pixels
HUE_TOLERANCE, HUE_REACH = 7.0, 5.5  # of each: Lab, cells of 4 units
MAIN_PASSES = 3  # to the lightness most common around a place, in cells of 8 units
MAIN_TOLERANCE, MAIN_REACH = 6.0, 7.0
WHITE = (88.0, 97.0)  # L from which the steps end at white
HUE_KEPT = (3.0, 10.0)  # chroma off those colours that is drawn, such as lips
DETAIL = (4.0, 11.0)  # Lab off the flats that is drawn, such as irises and pearls


def paint(fine: Field, unit: float) -> Field:
    """Simplify a picture into flats.

    Args:
        fine: Lab, `(H, W, 3)`, lightly smoothed.
        unit: px (`fields`).

    Returns:
        Lab, `(H, W, 3)`.
    """
    smoothed = smooth(fine, 9.0, 3.5 * unit)
    flat = _modes(smoothed, 2 * unit, PASSES, TOLERANCE, REACH, 7.0)
    even = _modes(flat, 4 * unit, HUE_PASSES, HUE_TOLERANCE, HUE_REACH, 6.0)[:, :, 1:]
    off = flat[:, :, 1:] - even
    chroma = even + off * ramp(np.linalg.norm(off, axis=2), *HUE_KEPT)[:, :, None]
    main = _modes(flat, 8 * unit, MAIN_PASSES, MAIN_TOLERANCE, MAIN_REACH, 6.0)[:, :, 0]
    painted = np.dstack([_steps(flat[:, :, 0], main, unit), chroma])
    detail = fine - flat
    strength = ramp(np.linalg.norm(detail, axis=2), *DETAIL)
    return np.asarray(painted + detail * strength[:, :, None], np.float32)


def _modes(
    lab: Field, cell: float, passes: int, tolerance: float, reach: float, own: float
) -> Field:
    """Move every colour towards the one most common around it, on a coarse grid of `cell` px.

    Back at full size, each pixel takes of the cells around it those near its own colour (within
    about `own`): a joint bilateral upsampling, so that edges are as sharp as before.
    """
    small = shrink(lab, cell)
    for _ in range(passes):
        small = smooth(small, tolerance, reach)
    height, width = lab.shape[:2]
    x, y = positions(height, width)
    x = (x + 0.5) * (small.shape[1] / width) - 0.5
    y = (y + 0.5) * (small.shape[0] / height) - 0.5
    total, weights = np.zeros_like(lab), np.zeros((height, width, 1), np.float32)
    for dx, dy in np.ndindex(3, 3):
        cells = sample(small, x + (1.5 * dx - 1.5), y + (1.5 * dy - 1.5))
        distance = ((cells - lab) ** 2).sum(axis=2, keepdims=True)
        weight = np.exp(-distance / (2 * own * own)) + np.float32(1e-6)
        total += cells * weight
        weights += weight
    return total / weights


def _steps(light: Field, main: Field, unit: float) -> Field:
    """Draw L in steps: a hard border where the photo has one, a gradient where it has one.

    `main`, the lightness most common around, lies in the middle of a step: a border across the
    middle of a cheek would come from the counting of steps, not from the face.
    """
    light = blur(light, 1.5 * unit)
    steep = blur(np.hypot(*slope(light)), 2 * unit) * unit
    exponent = 1 + SHARPEST * steep / (steep + STEEP)
    main = main + (100 - main) * ramp(light, *WHITE)
    middle = main + np.round((light - main) / STEP) * STEP
    off = (light - middle) / STEP  # -.5 .. .5
    return np.asarray(middle + STEP * np.sign(off) * 0.5 * np.abs(2 * off) ** exponent, np.float32)
