"""KID, intervals and distances, held against loops and against what is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon_models.evaluation import measures
from photo2cartoon_models.evaluation.measures import Vectors, kid, mean

Image = NDArray[np.uint8]


def _vectors(count: int, length: int, seed: int, shift: float = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, length)) + shift).astype(np.float32)


def _naive_kid(a: Vectors, b: Vectors) -> float:
    """The paper's formula, pair by pair."""

    def kernel(x: Vectors, y: Vectors) -> float:
        return (sum(float(p) * float(q) for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(x: Vectors) -> float:
        pairs = [kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
        return sum(pairs) / len(pairs)

    between = [kernel(x, y) for x in a for y in b]
    return within(a) + within(b) - 2 * sum(between) / len(between)


def test_kid_is_the_papers_formula() -> None:
    a, b = _vectors(5, 3, seed=1), _vectors(4, 3, seed=2, shift=0.5)
    result = kid(a, b)
    assert result.value == pytest.approx(_naive_kid(a, b), rel=1e-6)
    assert result.count == 5


def test_kid_of_two_pictures_has_an_interval() -> None:
    estimate = kid(_vectors(2, 3, seed=1), _vectors(2, 3, seed=2)).estimate()
    assert estimate.low == estimate.high == pytest.approx(estimate.value)


def test_kid_of_one_distribution_is_zero_in_the_mean() -> None:
    values = [kid(_vectors(20, 8, 2 * i), _vectors(15, 8, 2 * i + 1)).value for i in range(200)]
    spread = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * spread
    assert 0.3 < np.mean(np.array(values) < 0) < 0.8  # unbiased: it goes below


def test_kid_grows_with_the_distance() -> None:
    drawings = _vectors(30, 8, seed=0)
    shifts = (0, 0.5, 1, 2)
    values = [kid(_vectors(30, 8, 1, shift), drawings).value for shift in shifts]
    assert values == sorted(values)


def test_kid_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = kid(_vectors(1500, 4, 1, 0.5), _vectors(1500, 4, 2)).value
    held = 0
    for i in range(60):
        interval = kid(_vectors(60, 4, 100 + i, 0.5), _vectors(60, 4, 500 + i)).estimate()
        held += interval.low <= truth <= interval.high
    assert held >= 48  # of 60; 95 % would be 57


def test_kid_resamplings_are_not_shifted() -> None:
    """A picture drawn twice must not count as a likeness."""
    result = kid(_vectors(40, 8, 1, 0.5), _vectors(40, 8, 2))
    spread = result.samples.std()
    assert abs(result.samples.mean() - result.value) < 0.3 * spread


def test_mean_and_its_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    estimate = mean(values).estimate()
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.count == 400
    error = 1.96 * values.std() / 20
    assert estimate.low == pytest.approx(values.mean() - error, abs=0.03)
    assert estimate.high == pytest.approx(values.mean() + error, abs=0.03)


def test_same_pictures_same_figures() -> None:
    a, b = _vectors(10, 3, seed=1), _vectors(8, 3, seed=2)
    np.testing.assert_array_equal(kid(a, b).samples, kid(a, b).samples)
    assert kid(a, b).estimate() == kid(a, b).estimate()


def test_differences_are_taken_picture_by_picture() -> None:
    """Two figures that move together differ by less than their intervals are wide."""
    values = np.random.default_rng(0).normal(size=50)
    difference = (mean(values + 1) - mean(values)).estimate()
    assert difference.value == pytest.approx(1)
    assert difference.low == pytest.approx(1)
    assert difference.high == pytest.approx(1)
    with pytest.raises(ValueError, match="50 pictures cannot be compared with 49"):
        mean(values) - mean(values[1:])


def test_too_few() -> None:
    with pytest.raises(ValueError, match="no mean of nothing"):
        mean([])
    with pytest.raises(ValueError, match="two drawings"):
        kid(_vectors(3, 2, 0), _vectors(1, 2, 0))


def _gray(level: int) -> Image:
    return np.full((64, 64, 3), level, np.uint8)


def test_pixel_distances() -> None:
    assert measures.pixel_distance(_gray(0), _gray(255)) == pytest.approx(2)
    assert measures.blurred_distance(_gray(0), _gray(255)) == pytest.approx(2, rel=1e-4)
    lines = _gray(100)
    lines[::2] = 156  # fine lines: a blur of 4 px leaves nothing of them
    plain = _gray(128)
    assert measures.pixel_distance(lines, plain) == pytest.approx(28 / 127.5)
    assert measures.blurred_distance(lines, plain) < 0.01


def test_cosine_distances() -> None:
    a = np.array([[1, 0], [0, 3]], np.float32)
    b = np.array([[2, 0], [-1, 0], [1, 1]], np.float32)
    expected = [[0, 2, 1 - 0.5**0.5], [1, 1, 1 - 0.5**0.5]]
    np.testing.assert_allclose(measures.cosine_distances(a, b), expected, atol=1e-12)
