"""Stains and skin, on faces whose figures are known beforehand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon_models.evaluation.colours import (
    MEANINGS,
    FaceColours,
    compare_colours,
    rank_correlation,
    summarise,
)

Image = NDArray[np.uint8]


def _lab(light: float, a: float, b: float, side: int = 256) -> Image:
    """A picture of one colour, `(side, side, 3)` uint8 RGB."""
    flat = np.full((side, side, 3), (light, a, b), np.float32)
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_Lab2RGB) * 255 + 0.5, np.uint8)


def _measure(photo: Image, cartoon: Image) -> FaceColours:
    face = compare_colours(photo, cartoon)
    assert face is not None
    return face


def test_a_cartoon_in_the_photos_colours_has_no_stain() -> None:
    face = _measure(_lab(50, 15, 20), _lab(70, 15, 20))
    assert face.stains == 0
    assert face.off == pytest.approx(0, abs=0.5)
    assert face.cartoon - face.photo == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize(("far", "stains"), [(12, 0.0), (16, 1.0)])
def test_a_stain_is_a_colour_further_off_than_14(far: float, stains: float) -> None:
    face = _measure(_lab(60, 15, 20), _lab(60, 15 + far, 20))
    assert face.stains == stains
    assert face.off == pytest.approx(far, abs=0.7)


def test_half_a_face_stained() -> None:
    cartoon = _lab(60, 15, 20)
    cartoon[:, :128] = _lab(60, 45, 20)[:, :128]
    assert _measure(_lab(60, 15, 20), cartoon).stains == pytest.approx(0.5, abs=0.01)


def test_lines_and_what_lies_beside_the_face_do_not_count() -> None:
    photo, cartoon = _lab(60, 15, 20), _lab(60, 15, 20)
    cartoon[140:150] = _lab(20, 60, 20)[140:150]  # a dark red line through the face
    cartoon[:60] = _lab(60, 60, 20)[:60]  # a red hat
    assert _measure(photo, cartoon).stains == 0


def test_white_paper_on_pale_skin_is_no_stain_and_on_brown_skin_is_one() -> None:
    assert _measure(_lab(85, 3, 5), _lab(96, 0, 0)).stains == 0
    assert _measure(_lab(40, 15, 20), _lab(96, 0, 0)).stains == 1


def test_any_size_gives_the_same() -> None:
    small = _measure(_lab(50, 10, 15), _lab(60, 30, 15))
    large = _measure(_lab(50, 10, 15, 512), _lab(60, 30, 15, 512))
    assert large == small


def test_a_face_that_is_hardly_there_is_not_measured() -> None:
    photo = np.full((256, 256, 3), 255, np.uint8)
    photo[150:160] = 100
    assert compare_colours(photo, photo) is None


def test_figures_of_a_set() -> None:
    """Eight faces, the two darkest lifted by 30, the two fairest by 5."""
    lifts = (30, 30, 20, 20, 10, 10, 5, 5)
    faces = [FaceColours(0.1 * i, i, 20 + 8 * i, 20 + 8 * i + lift) for i, lift in enumerate(lifts)]
    figures = summarise(faces)
    assert set(figures) == set(MEANINGS)
    values = {name: figure.value for name, figure in figures.items()}
    assert values["stains"] == pytest.approx(0.35)
    assert values["stains_p90"] == pytest.approx(0.63)
    assert values["chroma_off"] == pytest.approx(3.5)
    assert values["lift_darkest"] == 30
    assert values["lift_fairest"] == 5
    assert values["lift"] == pytest.approx(sum(lifts) / 8)
    for figure in figures.values():
        estimate = figure.estimate()
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.count == 8
    stains = figures["stains"].estimate()
    assert stains.high - stains.low == pytest.approx(2 * 1.96 * 0.229 / 8**0.5, rel=0.15)


def test_one_face_has_figures() -> None:
    figures = summarise([FaceColours(0.2, 3, 50, 60)])
    assert figures["lift_darkest"].value == figures["lift_fairest"].value == 10
    assert figures["order"].value == 0
    with pytest.raises(ValueError, match="no figure of nothing"):
        summarise([])


def test_rank_correlation() -> None:
    a = np.array([1.0, 2, 3, 4])
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, np.array([1.0, 3, 2, 4])) == pytest.approx(0.8)
    tied = rank_correlation(np.array([1.0, 1, 2, 3]), a)  # ranks 1.5, 1.5, 3, 4
    assert tied == pytest.approx(np.corrcoef([1.5, 1.5, 3, 4], a)[0, 1])
