"""The figures, each with an interval: KID, means, pixel distances. numpy and OpenCV only.

Every interval is the middle 95 % of what resampling the pictures with replacement gives. It is
seeded: the same pictures give the same figures.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Samples = NDArray[np.float64]
Image = NDArray[np.uint8]

RESAMPLES = 1000
SEED = 0
TAILS = (2.5, 97.5)  # percent
BLUR_SIGMA_PX = 4.0  # of a 256 px picture: what is left are areas of colour, no lines
SLIGHT_SIGMA_PX = 1.5  # of the same: a blur that hides nobody


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure from `count` pictures and the interval around it."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Resampled:
    """A figure and what it was in each resampling, to compare two of the same pictures."""

    value: float
    samples: Samples
    count: int

    def __sub__(self, other: "Resampled") -> "Resampled":
        """The difference, resampled in pairs: both must come from as many pictures."""
        if self.count != other.count:
            raise ValueError(f"{self.count} pictures cannot be compared with {other.count}")
        return Resampled(self.value - other.value, self.samples - other.samples, self.count)

    def __truediv__(self, other: "Resampled") -> "Resampled":
        """The ratio to a figure of other pictures, resampled on its own."""
        samples = self.samples / other.samples
        return Resampled(self.value / other.value, samples, self.count + other.count)

    def estimate(self) -> Estimate:
        """The figure with its interval."""
        low, high = np.percentile(self.samples, TAILS)
        return Estimate(self.value, float(low), float(high), self.count)


def mean(values: Iterable[float]) -> Resampled:
    """The mean over pictures.

    Raises:
        ValueError: there are none.
    """
    array = np.fromiter(values, np.float64)
    if not array.size:
        raise ValueError("no mean of nothing")
    weights = _draw(np.random.default_rng(SEED), array.size)
    return Resampled(float(array.mean()), weights @ array / array.size, array.size)


def resampled(figure: Callable[[NDArray[np.intp]], float], count: int) -> Resampled:
    """Any figure of `count` pictures.

    Args:
        figure: gives the figure of the pictures with these indices, of which some may be equal.
        count: how many pictures there are.

    Raises:
        ValueError: there are none.
    """
    if not count:
        raise ValueError("no figure of nothing")
    rng = np.random.default_rng(SEED)
    samples = [figure(rng.integers(count, size=count)) for _ in range(RESAMPLES)]
    return Resampled(figure(np.arange(count)), np.array(samples), count)


def kid(pictures: Vectors, drawings: Vectors) -> Resampled:
    """Kernel Inception Distance of Binkowski et al. 2018 (arXiv:1801.01401), in any features.

    The unbiased estimate of the squared maximum mean discrepancy under (x . y / d + 1)^3: 0 in the
    mean for two samples of one distribution, below 0 half of the time. The paper averages over
    subsets to save memory; that mean tends to the estimate over all pairs, which is what we take.

    A picture drawn twice in a resampling is never paired with itself, or duplicates would look like
    likeness.

    Args:
        pictures: (N, d), N >= 2; N is the count of the result.
        drawings: (M, d), M >= 2.
    """
    if min(len(pictures), len(drawings)) < 2:
        raise ValueError("KID needs two pictures and two drawings at least")
    ours, theirs = _without_self(pictures), _without_self(drawings)
    cross = _kernel(pictures, drawings)
    rng = np.random.default_rng(SEED)
    weights = [_draw_pairs(rng, len(pictures)), _draw_pairs(rng, len(drawings))]
    ones = [np.ones((1, len(pictures))), np.ones((1, len(drawings)))]

    def discrepancy(ours_weight: Samples, theirs_weight: Samples) -> Samples:
        between = ((ours_weight @ cross) * theirs_weight).sum(1)
        between /= ours_weight.sum(1) * theirs_weight.sum(1)
        return _within(ours, ours_weight) + _within(theirs, theirs_weight) - 2 * between

    value = float(discrepancy(*ones)[0])
    return Resampled(value, discrepancy(*weights), len(pictures))


def _kernel(a: Vectors, b: Vectors) -> Samples:
    product = a.astype(np.float64) @ b.astype(np.float64).T
    return np.asarray((product / a.shape[1] + 1) ** 3)


def _without_self(vectors: Vectors) -> Samples:
    kernel = _kernel(vectors, vectors)
    np.fill_diagonal(kernel, 0)
    return kernel


def _within(kernel: Samples, weights: Samples) -> Samples:
    """Weighted mean of a kernel over all pairs of two pictures."""
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    return np.asarray(((weights @ kernel) * weights).sum(1) / pairs)


def _draw(rng: np.random.Generator, count: int) -> Samples:
    """How often each picture is drawn in each resampling, (RESAMPLES, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)


def _draw_pairs(rng: np.random.Generator, count: int) -> Samples:
    """As `_draw`, with two different pictures in each resampling: of few, one may come alone."""
    weights = _draw(rng, count)
    while (alone := (weights > 0).sum(1) < 2).any():
        weights[alone] = _draw(rng, count)[alone]
    return weights


def to_gray(picture: Image) -> Image:
    """Lightness alone (CIE L) of a picture (H, W, 3) uint8 RGB, in three equal channels."""
    light = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[:, :, 0]
    return np.asarray(np.repeat(light[:, :, None], 3, axis=2))


def blur(picture: Image) -> Image:
    """A picture (256, 256, 3) uint8 RGB, slightly blurred."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), SLIGHT_SIGMA_PX), np.uint8)


def pixel_distance(a: Image, b: Image) -> float:
    """Mean absolute difference of two pictures (H, W, 3) uint8, on -1..1."""
    return float(np.abs(a.astype(np.float32) - b).mean() / 127.5)


def blurred_distance(a: Image, b: Image) -> float:
    """`pixel_distance` behind a Gaussian of `BLUR_SIGMA_PX`: colour and shade, not lines."""
    size = (0, 0)  # as large as sigma asks for
    blurred = (cv2.GaussianBlur(x.astype(np.float32), size, BLUR_SIGMA_PX) for x in (a, b))
    return float(np.abs(next(blurred) - next(blurred)).mean() / 127.5)


def cosine_distances(a: Vectors, b: Vectors) -> Samples:
    """1 - cosine of every vector of (N, d) with every one of (M, d): (N, M), 0..2."""
    units = [x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    return np.asarray(1 - units[0] @ units[1].T)
