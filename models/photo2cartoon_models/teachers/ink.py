"""Ink: the lines of a drawing.

Sources: Kang, Lee and Chui 2007, "Coherent line drawing" (difference of Gaussians across the flow
of edges, averaged along it); Winnemoeller, Kyprianidis and Olsen 2012, "XDoG" (its sharpened form
and soft threshold).
"""

import cv2
import numpy as np

from photo2cartoon_models.fields import Field, blur, positions, ramp, sample, slope, smooth

AROUND = 22.0  # units: the neighbourhood that a place is compared with
PAPER = 0.62  # contrast of a place that is as light as its neighbourhood
WIDTH = 1.6  # units: sigma of the narrower Gaussian
RATIO = 1.6  # of the wider one to it: a DoG is then nearest to the Laplacian
SHARPNESS = 12.0
LENGTH = 7.0  # units: sigma along the flow
FLOW = 3.0  # units: sigma that smooths the flow's direction
INKED = 0.535  # response below which there is ink
SOFTNESS = 9.0
FAINT = 0.25  # ink that belongs to a stroke
LEAST = 4.0  # square units of response below INKED that a stroke has to have
LIT = 0.78  # response above which dark hair has a strand of light


def contrast(light: Field, unit: float) -> Field:
    """Compare L with its neighbourhood: about .62 on even places, `(H, W)`, 0..1.2.

    Lines come from contrast and not from darkness, so that dark skin and dark hair are modelled
    like fair ones.
    """
    part = light / np.float32(100)
    even = PAPER * (part + 0.06) / (blur(part, AROUND * unit) + 0.06)
    return np.asarray(even.clip(0, 1.2), np.float32)


def respond(even: Field, unit: float) -> Field:
    """Return the sharpened difference of Gaussians along the flow of edges, `(H, W)`.

    Below about .5 in lines and in dark spots, above .8 in light ones.
    """
    tx, ty = _flow(even, unit)
    x, y = positions(*even.shape)
    narrow, wide = WIDTH * unit, RATIO * WIDTH * unit
    reach = int(np.ceil(2 * wide))
    steps = np.arange(-reach, reach + 1)
    gaussians = [np.exp(-(steps**2) / (2 * sigma**2)) for sigma in (narrow, wide)]
    weights = (1 + SHARPNESS) * gaussians[0] / gaussians[0].sum()
    weights -= SHARPNESS * gaussians[1] / gaussians[1].sum()
    across = np.zeros_like(even)
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        across += weight * sample(even, x - ty * step, y + tx * step)
    return _along(across, tx, ty, max(1, round(LENGTH * unit)))


def _flow(field: Field, unit: float) -> tuple[Field, Field]:
    """Return unit vectors along the edges: the weaker eigenvector of the structure tensor."""
    gx, gy = slope(field)
    e, f, g = (blur(part, FLOW * unit) for part in (gx * gx, gx * gy, gy * gy))
    largest = (e + g + np.sqrt((e - g) ** 2 + 4 * f * f)) / 2
    tx, ty = np.asarray(largest - e, np.float32), -f
    length = np.asarray(np.hypot(tx, ty) + 1e-9, np.float32)
    return tx / length, ty / length


def _along(field: Field, tx: Field, ty: Field, sigma: int) -> Field:
    """Average `field` along the flow: a Gaussian of `sigma` px, walked both ways, px by px."""
    total, weights = field.copy(), 1.0
    for sign in (1, -1):
        x, y = positions(*field.shape)
        for step in range(1, 2 * sigma + 1):
            dx, dy = sample(tx, x, y), sample(ty, x, y)
            x, y = x + sign * dx, y + sign * dy
            weight = float(np.exp(-step * step / (2 * sigma * sigma)))
            total += np.float32(weight) * sample(field, x, y)
            weights += weight
    return total / np.float32(weights)


def strokes(response: Field, unit: float) -> Field:
    """Return the ink, `(H, W)`, 0 (paper) .. 1, without the scribbles.

    A stroke's size is the sum of its response below the threshold: wrinkles that are only just
    lines, pores and stubble have little of it, an eye's lid and a nostril much.
    """
    lack = np.maximum(np.float32(INKED) - response, 0)
    ink = np.tanh(SOFTNESS * lack)
    count, labels = cv2.connectedComponents((ink > FAINT).astype(np.uint8), connectivity=8)
    size = np.bincount(labels.ravel(), lack.ravel(), count) / unit**2
    kept = (2 * (size / LEAST - 1)).clip(0, 1).astype(np.float32)
    kept[0] = 0
    return np.asarray(ink * cv2.dilate(kept[labels], np.ones((3, 3))), np.float32)


def catch_lights(light: Field, unit: float) -> Field:
    """Return small bright spots of L, `(H, W)`, 0..1: ink leaves them free, and eyes look alive."""
    spots = smooth(light, 7.0, 1.5 * unit)
    return ramp(spots - blur(spots, 3 * unit), 5, 14)


def strands(response: Field, light: Field, unit: float) -> Field:
    """Return strands of light in dark masses, `(H, W)`, 0..1: black hair is not one black flat."""
    around = blur(light, AROUND * unit)
    dark = (1 - around / 34).clip(0, 1) * (1 - light / 50).clip(0, 1)
    return np.asarray(1.6 * np.tanh(5 * (response - LIT)).clip(0, 1) * dark, np.float32)
