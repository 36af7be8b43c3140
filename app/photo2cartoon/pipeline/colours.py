"""Colours from the photo: the cartoon keeps its lines and its tone, the chroma is the photo's.

A generator that was trained on a few hundred drawings of one kind of people paints in their
colours: pink patches on brown skin, brown in red hair, a blue shirt for a green one. So only the
lightness of its drawing is used. The chroma comes from the photo, through a guided filter whose
guide is the drawing's lightness: the colours end where the drawing's own lines end. Only pixels
that surely are the person count (a normalised convolution), so neither the background nor the
white paper bleeds in. Then the broad tone of the drawing moves towards the photo's, most where the
photo is dark: the generators draw dark skin far too light.

Sources: He, Sun, Tang: Guided Image Filtering (TPAMI 2013); He, Sun: Fast Guided Filter
(arXiv 1505.00996), which finds the coefficients on a smaller picture and enlarges those; Knutsson,
Westin: Normalized and Differential Convolution (CVPR 1993). The constants were chosen by eye on
portraits of all skins (docs/method.md).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # (H, W)

SIDE = 128  # px; the coefficients are found at this size, whatever the size of the picture
NEAR, WIDE, FAR = 5 / 256, 8 / 256, 32 / 256  # radii as shares of the side: colour, tone, filling
SURE = 0.6, 0.95  # matte values that mean "not surely the person" and "surely"
COLOUR_EPS, TONE_EPS = 2e-3, 1e-2  # variances of lightness (0..1) that a filter takes for flat
FILL = 1e-3  # weight of the colour from far away, where nothing near is the person's
SATURATION = 1.1  # a drawing is more colourful than a photo
PAPER = 14  # L; within that of white there is less and less room for colour,
LEAST_COLOUR = 0.45  # down to this share of it
TONE = 0.8, 0.4  # how far the tone follows the photo's where that is dark, and where it is light,
DARK, LIGHT = 0.3, 0.7  # at these lightnesses, 0..1
LIFT = 0.75  # exponent on the photo's lightness, 0..1: the style is lighter than a photo


def recolour(
    photo: NDArray[np.uint8], cartoon: NDArray[np.float32] | NDArray[np.uint8], matte: Plane
) -> NDArray[np.float32]:
    """Give a drawing the colours of its photo.

    Args:
        photo: the aligned crop, `(S, S, 3)` RGB, 0..255, with its background.
        cartoon: what the generator drew of it, `(S, S, 3)` RGB, 0..255.
        matte: `(S, S)` float32, 0 (background) .. 1 (person).

    Returns:
        `(S, S, 3)` float32 RGB, 0..255, not composited; outside the matte it means nothing.
    """
    drawn = np.asarray(cartoon, np.float32).clip(0, 255) * np.float32(1 / 255)
    light = _split(cv2.cvtColor(drawn, cv2.COLOR_RGB2Lab))[0] * np.float32(0.01)
    guide = _shrink(light)
    low, high = SURE
    sure = np.clip((_shrink(matte) - np.float32(low)) / np.float32(high - low), 0, 1)
    small = _shrink(photo.astype(np.float32)) * np.float32(1 / 255)
    tone, a, b = _split(cv2.cvtColor(small, cv2.COLOR_RGB2Lab))
    size = light.shape[::-1]
    fitted = _fit_chroma(guide, a, b, sure)
    slope_a, slope_b, offset_a, offset_b = (_enlarge(plane, size) for plane in fitted)
    change = _enlarge(_find_tone(guide, tone * np.float32(0.01), sure), size)
    shown = np.clip(light + change * matte, 0, 1)
    room = (1 - shown) * np.float32(SATURATION * 100 / PAPER)
    room = np.clip(room, np.float32(SATURATION * LEAST_COLOUR), np.float32(SATURATION))
    chroma = (slope_a * light + offset_a) * room, (slope_b * light + offset_b) * room
    lab = cv2.merge([shown * np.float32(100), *chroma])
    rgb = np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1) * np.float32(255)
    return np.asarray(rgb, np.float32)


def _fit_chroma(guide: Plane, a: Plane, b: Plane, sure: Plane) -> list[Plane]:
    """Explain Lab's a and b by the guide around each pixel: two slopes, then two offsets."""
    near, far = round(SIDE * NEAR), round(SIDE * FAR)
    of_a, of_b, of_guide = sure * a, sure * b, sure * guide
    there, far_a, far_b = _means(far, sure, of_a, of_b)
    there = np.float32(FILL) / (there + np.float32(1e-4))
    far_a, far_b = far_a * there, far_b * there
    weight, m_guide, m_square = _means(near, sure, of_guide, of_guide * guide)
    weight = np.reciprocal(weight + np.float32(FILL))
    m_guide = m_guide * weight
    variance = np.maximum(m_square * weight - m_guide * m_guide, 0) + np.float32(COLOUR_EPS)
    m_a, m_b, m_guide_a, m_guide_b = _means(near, of_a, of_b, of_a * guide, of_b * guide)
    m_a, m_b = (m_a + far_a) * weight, (m_b + far_b) * weight
    slope_a = ((m_guide_a + far_a * m_guide) * weight - m_a * m_guide) / variance
    slope_b = ((m_guide_b + far_b * m_guide) * weight - m_b * m_guide) / variance
    return _means(near, slope_a, slope_b, m_a - slope_a * m_guide, m_b - slope_b * m_guide)


def _find_tone(guide: Plane, tone: Plane, sure: Plane) -> Plane:
    """How much lighter the drawing shall be, 0..1 of lightness: broad tones only, lines stay."""
    base_photo = np.clip(_smooth(tone, sure), 0, 1)
    wanted = np.power(base_photo, np.float32(LIFT))
    dark, light = TONE
    share = np.clip((base_photo - np.float32(DARK)) / np.float32(LIGHT - DARK), 0, 1)
    follow = np.float32(dark) + np.float32(light - dark) * share
    return np.asarray(follow * (wanted - _smooth(guide, sure)), np.float32)


def _smooth(plane: Plane, sure: Plane) -> Plane:
    """A guided filter with itself as the guide: edges stay, what lies between them is flat."""
    wide = round(SIDE * WIDE)
    weighted = sure * plane
    weight, mean, square = _means(wide, sure, weighted, weighted * plane)
    weight = np.reciprocal(weight + np.float32(FILL))
    mean = mean * weight
    variance = np.maximum(square * weight - mean * mean, 0)
    slope = variance / (variance + np.float32(TONE_EPS))
    slope, offset = _means(wide, slope, mean - slope * mean)
    return np.asarray(slope * plane + offset, np.float32)


def _means(radius: int, *planes: Plane) -> list[Plane]:
    """The mean of each plane over a square of `2 * radius + 1` px around each pixel."""
    side = (2 * radius + 1, 2 * radius + 1)
    blurred = [cv2.blur(plane, side, borderType=cv2.BORDER_REFLECT_101) for plane in planes]
    return [np.asarray(plane, np.float32) for plane in blurred]


def _split(picture: cv2.typing.MatLike) -> list[Plane]:
    return [np.asarray(plane, np.float32) for plane in cv2.split(picture)]


def _shrink(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _enlarge(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    large = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.float32)
