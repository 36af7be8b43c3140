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

The formulas stand here once. On a CPU their planes are arrays; on a GPU they are values of the
fused graph (`pipeline.fuse`), and the same lines write its nodes (`pipeline.colour_graph`).
"""

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = Any  # (S, S) float32: an array, or a value in a graph; + - * / with others and with numbers

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


class Calculus(Protocol):
    """What formulas need beside + - * /, for one kind of plane.

    Planes have the full size or a smaller one, on which the formulas work: `shrink` and `enlarge`
    lead from one to the other.
    """

    def to_lab(self, rgb: Plane) -> tuple[Plane, Plane, Plane]:
        """From sRGB, three planes in one value, 0..1, to L (0..1, not 0..100), a and b."""

    def to_rgb(self, light: Plane, a: Plane, b: Plane) -> Plane:
        """The way back; 0..1."""

    def shrink(self, picture: Plane) -> Plane:
        """To the smaller size by means over areas; one plane or three in one value."""

    def enlarge(self, plane: Plane) -> Plane:
        """From the smaller size to the full one, bilinear, pixel centres at half numbers."""

    def means(self, radius: int, *planes: Plane) -> list[Plane]:
        """Means over squares of `2 * radius + 1` px, the picture mirrored at its border (101)."""

    def dilate(self, radius: int, plane: Plane) -> Plane:
        """Largest values in squares of `2 * radius + 1` px; outside the picture there is none."""

    def least(self, left: Plane, right: Plane) -> Plane:
        """The smaller value of each pixel."""

    def constant(self, plane: NDArray[np.float32]) -> Plane:
        """A plane that is always the same."""

    def clip(self, plane: Plane, low: float, high: float) -> Plane:
        """Between two numbers."""

    def power(self, plane: Plane, exponent: float) -> Plane:
        """To a power, by element."""


def recolour(
    photo: NDArray[np.uint8],
    cartoon: NDArray[np.float32] | NDArray[np.uint8],
    matte: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Give a drawing the colours of its photo.

    Args:
        photo: the aligned crop, `(S, S, 3)` RGB, 0..255, with its background.
        cartoon: what the generator drew of it, `(S, S, 3)` RGB, 0..255.
        matte: `(S, S)` float32, 0 (background) .. 1 (person).

    Returns:
        `(S, S, 3)` float32 RGB, 0..255, not composited; outside the matte it means nothing.
    """
    calculus = ArrayCalculus(photo.shape[0], SIDE)
    colours, drawn = (np.asarray(picture, np.float32) * (1 / 255) for picture in (photo, cartoon))
    rgb = recolour_planes(calculus, colours, drawn, matte)
    return np.asarray(rgb * 255, np.float32)


def recolour_planes(calculus: Calculus, photo: Plane, cartoon: Plane, matte: Plane) -> Plane:
    """As `recolour`, on any kind of plane; all values 0..1."""
    light, _, _ = calculus.to_lab(calculus.clip(cartoon, 0, 1))
    guide = calculus.shrink(light)
    low, high = SURE
    sure = calculus.clip((calculus.shrink(matte) - low) * (1 / (high - low)), 0, 1)
    tone, a, b = calculus.to_lab(calculus.shrink(photo))
    fitted = _fit_chroma(calculus, guide, a, b, sure)
    slope_a, slope_b, offset_a, offset_b = map(calculus.enlarge, fitted)
    change = calculus.enlarge(_find_tone(calculus, guide, tone, sure))
    shown = calculus.clip(light + change * matte, 0, 1)
    room = (1 - shown) * (SATURATION * 100 / PAPER)
    room = calculus.clip(room, SATURATION * LEAST_COLOUR, SATURATION)
    chroma_a = (slope_a * light + offset_a) * room
    chroma_b = (slope_b * light + offset_b) * room
    return calculus.clip(calculus.to_rgb(shown, chroma_a, chroma_b), 0, 1)


def _fit_chroma(calculus: Calculus, guide: Plane, a: Plane, b: Plane, sure: Plane) -> list[Plane]:
    """Explain Lab's a and b by the guide around each pixel: two slopes, then two offsets."""
    near, far = round(SIDE * NEAR), round(SIDE * FAR)
    of_a, of_b, of_guide = sure * a, sure * b, sure * guide
    there, far_a, far_b = calculus.means(far, sure, of_a, of_b)
    there = FILL / (there + 1e-4)
    far_a, far_b = far_a * there, far_b * there
    weight, m_guide, m_square = calculus.means(near, sure, of_guide, of_guide * guide)
    weight = 1 / (weight + FILL)
    m_guide = m_guide * weight
    variance = calculus.clip(m_square * weight - m_guide * m_guide, 0, 1) + COLOUR_EPS
    m_a, m_b, m_guide_a, m_guide_b = calculus.means(near, of_a, of_b, of_a * guide, of_b * guide)
    m_a, m_b = (m_a + far_a) * weight, (m_b + far_b) * weight
    slope_a = ((m_guide_a + far_a * m_guide) * weight - m_a * m_guide) / variance
    slope_b = ((m_guide_b + far_b * m_guide) * weight - m_b * m_guide) / variance
    return calculus.means(near, slope_a, slope_b, m_a - slope_a * m_guide, m_b - slope_b * m_guide)


def _find_tone(calculus: Calculus, guide: Plane, tone: Plane, sure: Plane) -> Plane:
    """How much lighter the drawing shall be, 0..1 of lightness: broad tones only, lines stay."""
    base = calculus.clip(_smooth(calculus, tone, sure), 0, 1)
    dark, light = TONE
    share = calculus.clip((base - DARK) * (1 / (LIGHT - DARK)), 0, 1)
    follow = share * (light - dark) + dark
    return follow * (calculus.power(base, LIFT) - _smooth(calculus, guide, sure))


def _smooth(calculus: Calculus, plane: Plane, sure: Plane) -> Plane:
    """A guided filter with itself as the guide: edges stay, what lies between them is flat."""
    wide = round(SIDE * WIDE)
    weighted = sure * plane
    weight, mean, square = calculus.means(wide, sure, weighted, weighted * plane)
    weight = 1 / (weight + FILL)
    mean = mean * weight
    variance = calculus.clip(square * weight - mean * mean, 0, 1)
    slope = variance / (variance + TONE_EPS)
    slope, offset = calculus.means(wide, slope, mean - slope * mean)
    return slope * plane + offset


class ArrayCalculus:
    """On arrays, by OpenCV; as `Calculus`."""

    def __init__(self, size: int, side: int) -> None:
        """For pictures of `size` px, which shrink to `side` px."""
        self.size, self.side = size, side

    def to_lab(self, rgb: Plane) -> tuple[Plane, Plane, Plane]:
        light, a, b = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab))
        return light * 0.01, a, b

    def to_rgb(self, light: Plane, a: Plane, b: Plane) -> Plane:
        return cv2.cvtColor(cv2.merge([light * 100, a, b]), cv2.COLOR_Lab2RGB)

    def shrink(self, picture: Plane) -> Plane:
        return cv2.resize(picture, (self.side, self.side), interpolation=cv2.INTER_AREA)

    def enlarge(self, plane: Plane) -> Plane:
        return cv2.resize(plane, (self.size, self.size), interpolation=cv2.INTER_LINEAR)

    def means(self, radius: int, *planes: Plane) -> list[Plane]:
        side = (2 * radius + 1, 2 * radius + 1)
        return [cv2.blur(plane, side, borderType=cv2.BORDER_REFLECT_101) for plane in planes]

    def dilate(self, radius: int, plane: Plane) -> Plane:
        return cv2.dilate(plane, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))

    def least(self, left: Plane, right: Plane) -> Plane:
        return np.minimum(left, right)

    def constant(self, plane: NDArray[np.float32]) -> Plane:
        return plane

    def clip(self, plane: Plane, low: float, high: float) -> Plane:
        return np.clip(plane, low, high)

    def power(self, plane: Plane, exponent: float) -> Plane:
        return np.power(plane, exponent)
