"""Eyes are larger and lighter before they are drawn, and nothing else of the photo changes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.drawer import StagedDrawer
from photo2cartoon.pipeline.eyes import REACH, open_eyes
from photo2cartoon.pipeline.faces.warp import apply, inverse
from photo2cartoon.pipeline.opening import open_pipeline
from tests.places import PHOTO

SKIN, WHITE, IRIS = (225, 180, 160), (150, 140, 135), (70, 50, 40)


def draw_face(width: float = 60.0) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A face of skin with two dull eyes, `(240, 320, 3)`, and their contours."""
    image = np.full((240, 320, 3), SKIN, np.uint8)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    lids = []
    for x in (100, 220):
        cv2.ellipse(image, (x, 120), (round(width / 2), round(width / 5)), 0, 0, 360, WHITE, -1)
        cv2.circle(image, (x, 120), round(width / 6), IRIS, -1)
        outwards = -1 if x == 100 else 1
        lids.append(
            np.stack(
                [
                    x + outwards * width / 2 * np.cos(angles),
                    120 + width / 5 * np.sin(angles),
                ],
                axis=1,
            )
        )
    return image, np.stack(lids)


def irises(image: NDArray[np.uint8]) -> int:
    """Pixels nearer to the iris's colour than to any other."""
    apart = [
        np.abs(image.astype(int) - colour).sum(axis=2) for colour in (IRIS, SKIN, WHITE, (25,) * 3)
    ]
    return int((np.argmin(apart, axis=0) % 3 == 0).sum())


def test_eyes_become_larger_their_whites_lighter_and_their_irises_darker() -> None:
    image, lids = draw_face()
    opened = open_eyes(image, lids)
    assert irises(opened) > 1.15 * irises(image)
    for x in (100, 220):
        assert opened[120, x].astype(int).sum() < image[120, x].astype(int).sum() - 10
        white = opened[120, x + 20].astype(int)
        assert white.min() > min(WHITE) + 15
        assert np.ptp(white) < 40  # no colour came into it


def test_everything_else_stays_as_it_was() -> None:
    image, lids = draw_face()
    before = image.copy()
    opened = open_eyes(image, lids)
    y, x = np.mgrid[:240, :320]
    far = (np.hypot(x - 100, y - 120) > 72) & (np.hypot(x - 220, y - 120) > 72)
    np.testing.assert_array_equal(opened[far], image[far])
    np.testing.assert_array_equal(image, before)


def test_a_closed_eye_is_not_painted_open() -> None:
    image = np.full((240, 320, 3), SKIN, np.uint8)
    _, lids = draw_face()
    np.testing.assert_array_equal(open_eyes(image, lids), image)


@pytest.mark.parametrize("shift", [(-2000.0, 0.0), (0.0, 900.0), (-95.0, -118.0), (1e6, 1e6)])
def test_eyes_outside_and_at_the_border_do_no_harm(shift: tuple[float, float]) -> None:
    image, lids = draw_face()
    assert open_eyes(image, lids + shift).shape == image.shape


def test_eyes_of_few_pixels_are_left_alone() -> None:
    image, lids = draw_face(width=7)
    np.testing.assert_array_equal(open_eyes(image, lids), image)


def test_a_style_opens_the_eyes_where_they_are_in_the_photo() -> None:
    """Of the astronaut, comic draws the eyes anew, and everything else as it was."""
    pipeline = open_pipeline(Settings(generator="comic", styles=(), provider="cpu"))
    photo = PHOTO.read_bytes()
    drawer = pipeline.styles.drawer(Options())
    assert isinstance(drawer, StagedDrawer)
    assert drawer.model.eyes == "opened"
    image, (cut,) = pipeline.find(photo, Options(), Ticket(), 256)
    opened = drawer.draw(image, cut, Ticket()).cartoon
    drawer.model = replace(drawer.model, eyes="kept")
    kept = drawer.draw(image, cut, Ticket()).cartoon
    drawer.model = replace(drawer.model, eyes="opened")
    assert cut.face is not None
    assert cut.face.lids is not None
    unknown = replace(cut, face=replace(cut.face, lids=None))
    np.testing.assert_array_equal(drawer.draw(image, unknown, Ticket()).cartoon, kept)

    changed = np.abs(opened - kept).max(axis=2) > 25
    ys, xs = np.nonzero(changed)
    assert ys.size > 30
    to_square = inverse(cut.alignment.to_photo(256))
    for contour in cut.face.lids:
        x, y = apply(to_square, contour).mean(axis=0)
        reach = REACH * np.ptp(apply(to_square, contour)[:, 0])
        near = np.hypot(xs - x, ys - y) < 1.4 * reach  # a generator sees around a pixel
        assert near.sum() > 15
        xs, ys = xs[~near], ys[~near]
    assert not xs.size


def test_a_whole_photo_gets_open_eyes_too() -> None:
    pipeline = open_pipeline(Settings(generator="comic", styles=(), provider="cpu"))
    photo = PHOTO.read_bytes()
    kept = pipeline.find_whole(photo, Ticket()).astype(int)
    opened = pipeline.find_whole(photo, Ticket(), opened=True).astype(int)
    assert 0.0002 < (np.abs(opened - kept).max(axis=2) > 8).mean() < 0.02
