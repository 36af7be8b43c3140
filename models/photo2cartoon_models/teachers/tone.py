"""Tone: lightness and colour as a comic has them, before anything is simplified.

CIE Lab throughout: L 0..100, a and b about -100..100.
"""

import cv2
import numpy as np

from photo2cartoon_models.fields import Field, blur, grow, ramp, shrink

COARSE = 8  # units a cell of the field of local highlights
HIGHLIGHT = (7, 6.0)  # cells: width of the largest value, then blur
LIFT = (0.62, 35.0)  # a local highlight of L goes to .62 L + 35, or stays where it is lighter
BRIGHTEST = 0.95  # largest exponent; smallest by LIFT, at the darkest highlight of 25 L
TOE = (0.55, 14.0)  # black stays black: this part is taken off at L 0, fading within so many L
SATURATION = 1.22
FULL = (38.0, 75.0)  # chroma from which lifting is held back: red lifted is pink
MOST = 95.0  # chroma that colours approach

GLOSS = (22.0, 68.0)  # units: brighter patches of such width are gloss; eyes and teeth are smaller
DULL = 0.6  # so much of the gloss is taken off
FAIR = (58.0, 74.0)  # L around the gloss, lifted: fair skin may shine
GLARING = (30.0, 50.0)  # L: what stands out by more is no gloss on skin: a shirt, a lamp

SKIN_B, SKIN_A = (5.0, 13.0), (2.0, 8.0)  # warm, as every skin is in every plain light
COOL_B, COOL_A = (-1.0, 6.0), (-10.0, -3.0)  # -b and a of blue and violet shade; no gray
STRONG = (24.0, 36.0)  # chroma of coloured light, make-up, clothes: meant, and kept
AROUND = 26.0  # units: how far skin reaches a shade
WIDE = 10.0  # units: narrower cool places, such as irises, are no shade
WARMTH = 0.55  # chroma of a mended shade, as part of the skin's around it


def expose(lab: Field, unit: float) -> Field:
    """Lift lightness to where a drawing reads well, by the highlights around, and colour with it.

    One curve for all would leave a dark photo dark, and a curve by the face would need a face. The
    largest lightness nearby says how the place is lit, or how dark the skin is there; the darker,
    the smaller the exponent. L 35 with highlights of 50 goes to about 50, 65 with 80 to about 74:
    the order of skins is kept.

    Args:
        lab: `(H, W, 3)`.
        unit: px (`fields`).

    Returns:
        `(H, W, 3)`, Lab.
    """
    light = lab[:, :, 0].clip(0.1, 100)
    width, sigma = HIGHLIGHT
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    highlight = blur(np.asarray(cv2.dilate(shrink(light, COARSE * unit), disc), np.float32), sigma)
    highlight = grow(highlight, light).clip(25, 97)
    goal = np.maximum(highlight, LIFT[0] * highlight + LIFT[1])
    exponent = np.minimum(np.log(goal / 100) / np.log(highlight / 100), BRIGHTEST)
    chroma = np.asarray(np.hypot(lab[:, :, 1], lab[:, :, 2]) + 1e-6, np.float32)
    exponent += (1 - exponent) * 0.75 * ramp(chroma, *FULL)
    lifted = 100 * (light / 100) ** exponent * (1 - TOE[0] * np.exp(-light / TOE[1]))
    wanted = chroma * SATURATION * (lifted / light).clip(0.8, 1.6) ** 0.4
    wanted /= (1 + (wanted / MOST) ** 3) ** (1 / 3)
    gain = wanted / chroma
    return np.dstack([lifted, lab[:, :, 1] * gain, lab[:, :, 2] * gain]).astype(np.float32)


def calm_gloss(light: Field, unit: float) -> Field:
    """Take down the gloss of foreheads and cheeks, which on dark skin is a white patch.

    Gloss is what an opening by a wide disc takes off, and one by a narrow disc leaves.

    Args:
        light: L, `(H, W)`.
        unit: px (`fields`).

    Returns:
        L, `(H, W)`.
    """
    cell = max(4.0, 1 / unit)  # units; not less than a pixel
    small = shrink(light, cell * unit)
    narrow, wide = (_opened(small, width / cell) for width in GLOSS)
    gloss = narrow - wide
    gloss *= DULL * (1 - ramp(gloss, *GLARING)) * (1 - ramp(wide, *FAIR))
    return np.asarray(light - grow(blur(gloss, 1.5), light), np.float32)


def _opened(field: Field, width: float) -> Field:
    """Take bright places off that are narrower than about `width` px."""
    width = 2 * round(width / 2) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return np.asarray(cv2.morphologyEx(field, cv2.MORPH_OPEN, disc), np.float32)


def warm_shades(chroma: Field, unit: float) -> Field:
    """Give violet and blue shade amid skin the skin's hue.

    Sky light makes the shaded side of a face blue; lifted and simplified it looks like a bruise.
    Gray hair, irises and strong colours stay as they are.

    Args:
        chroma: a and b, `(H, W, 2)`.
        unit: px (`fields`).

    Returns:
        `(H, W, 2)`.
    """
    a, b = chroma[:, :, 0], chroma[:, :, 1]
    skin = ramp(b, *SKIN_B) * ramp(a, *SKIN_A)
    cool = ramp(-b, *COOL_B) * ramp(a, *COOL_A) * (1 - ramp(np.hypot(a, b), *STRONG))
    cell = max(4.0, 1 / unit)  # units; not less than a pixel
    maps = shrink(np.dstack([chroma * skin[:, :, None], skin, cool]), cell * unit)
    wide = _opened(maps[:, :, 3], 2 * WIDE / cell)
    near = blur(maps[:, :, :3], AROUND / cell)
    target = WARMTH * near[:, :, :2] / (near[:, :, 2:] + 1e-3)
    share = 0.9 * blur(wide, 1) * ramp(near[:, :, 2], 0.2, 0.5)
    fields = grow(np.dstack([target, share]), chroma)
    share = fields[:, :, 2:] * ramp(cool, 0, 0.5)[:, :, None]
    return np.asarray(chroma + (fields[:, :, :2] - chroma) * share, np.float32)
