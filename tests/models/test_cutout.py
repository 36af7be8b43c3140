"""The cutout: little of the background in it, and an outline without a gap."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon_models.cutout import cover, cut_out, firm, ink, outline
from photo2cartoon_models.fields import Field
from photo2cartoon_models.preprocess import composite

SKIN, WALL = (200, 150, 120), (20, 160, 60)


def disc(size: int, radius: float) -> Field:
    """A soft matte: 1 in a circle, falling to 0 over a few pixels."""
    y, x = np.indices((size, size)) - size / 2
    return np.asarray(((radius - np.hypot(x, y)) / 8 + 0.5).clip(0, 1), np.float32)


def greenness(picture: NDArray[np.floating]) -> float:
    """How far its greenest pixel is from any mixture of skin and white, grey levels."""
    ink = 255 - picture
    skin = 255 - np.array(SKIN, float)
    amount = (ink @ skin / (skin @ skin))[:, :, None]
    return float(np.abs(ink - amount * skin).max())


@pytest.mark.parametrize(("size", "unit"), [(128, 0.25), (256, 0.5), (512, 1.0)])
def test_the_border_holds_little_of_the_background(size: int, unit: float) -> None:
    """The matte is a little too large, as networks' mattes are."""
    matte = disc(size, size / 3)
    skin = disc(size, size / 3 - 2)[:, :, None] > 0.5
    photo = np.where(skin, np.array(SKIN), np.array(WALL))
    person = firm(matte, unit)
    seen = cut_out(photo.astype(np.uint8), person, unit).astype(float)
    plain = composite(photo.astype(np.uint8), person).astype(float)
    assert greenness(seen) < 0.2 * greenness(plain)
    assert (seen[:4] == 255).all()
    assert np.abs(seen[size // 2, size // 2] - SKIN).max() <= 1


def test_islands_go_and_pinholes_are_filled() -> None:
    matte = disc(256, 90)
    matte[10:24, 10:24] = 1
    matte[120:124, 120:124] = 0
    person = firm(matte, 0.5)
    assert person[10:24, 10:24].max() == 0
    assert person[120:124, 120:124].min() > 0.9


def test_a_view_of_a_larger_array_is_cut_out_as_its_copy_is() -> None:
    larger = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    person = disc(64, 20)
    view = larger[:, :, :3]
    expected = cut_out(np.ascontiguousarray(view), person, 1)
    np.testing.assert_array_equal(cut_out(view, person, 1), expected)


def test_without_a_person_everything_is_white() -> None:
    nobody = np.zeros((64, 64), np.float32)
    photo = np.full((64, 64, 3), 90, np.uint8)
    assert (cut_out(photo, firm(nobody, 0.2), 0.2) == 255).all()
    everybody = np.ones((64, 64), np.float32)
    assert (cut_out(photo, firm(everybody, 0.2), 0.2) == photo).all()
    assert outline(everybody, 0.2).max() == 0  # the person goes on beyond the picture


@pytest.mark.parametrize("unit", [0.5, 1.0, 2.0])
def test_the_outline_has_no_gap_towards_any_background(unit: float) -> None:
    size = round(512 * unit)
    person = firm(disc(size, size / 3), unit)
    lines, shown = outline(person, unit), cover(person)
    inside = cv2.distanceTransform((shown > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    ring = (inside > 0) & (inside <= max(1.0, 1.5 * unit))
    assert lines[ring].min() > 0.7
    assert lines[inside > 8 * unit].max() == 0
    white = np.ones((size, size, 3), np.float32)
    assert ink(white, lines)[ring].max() < 0.5
