"""Eyes and nose are stressed before they are drawn, and nothing else of the photo changes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.drawer import StagedDrawer
from photo2cartoon.pipeline.faces.warp import apply, inverse
from photo2cartoon.pipeline.features import REACH, VISIBLE, stress
from photo2cartoon.pipeline.opening import open_pipeline
from tests.places import PHOTO

SKIN, WHITE, IRIS = (225, 180, 160), (150, 140, 135), (70, 50, 40)


def draw_face(width: float = 60.0) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A face of skin with two dull eyes, `(240, 320, 3)`, and its features."""
    image = np.full((240, 320, 3), SKIN, np.uint8)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    lids = []
    for x, outwards in ((100, -1), (220, 1)):
        cv2.ellipse(image, (x, 90), (round(width / 2), round(width / 5)), 0, 0, 360, WHITE, -1)
        cv2.circle(image, (x, 90), round(width / 6), IRIS, -1)
        across = x + outwards * width / 2 * np.cos(angles)
        lids.append(np.stack([across, 90 + width / 5 * np.sin(angles)], axis=1))
    return image, np.concatenate([*lids, [[160.0, 210.0]]])


def irises(image: NDArray[np.uint8]) -> int:
    """Pixels nearer to the iris's colour than to any other."""
    apart = [
        np.abs(image.astype(int) - colour).sum(axis=2) for colour in (IRIS, SKIN, WHITE, (25,) * 3)
    ]
    return int((np.argmin(apart, axis=0) % 3 == 0).sum())


def test_eyes_become_larger_their_whites_lighter_and_their_irises_darker() -> None:
    image, features = draw_face()
    opened = stress(image, features)
    assert irises(opened) > 1.15 * irises(image)
    for x in (100, 220):
        assert opened[90, x].astype(int).sum() < image[90, x].astype(int).sum() - 10
        white = opened[90, x + 20].astype(int)
        assert white.min() > min(WHITE) + 15
        assert np.ptp(white) < 40  # no colour came into it


def test_everything_else_stays_as_it_was() -> None:
    image, features = draw_face()
    before = image.copy()
    opened = stress(image, features)
    y, x = np.mgrid[:240, :320]
    far = (np.hypot(x - 100, y - 90) > 72) & (np.hypot(x - 220, y - 90) > 72)
    far &= np.hypot(x - 160, y - 160) > 70
    np.testing.assert_array_equal(opened[far], image[far])
    np.testing.assert_array_equal(image, before)


def contrast(image: NDArray[np.uint8]) -> float:
    """Root mean square of lightness around its mean, where the nose of `draw_face` is."""
    light = cv2.cvtColor(image[140:180, 130:190].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return float(light[:, :, 0].std())


@pytest.mark.parametrize(("shade", "rises"), [(4, True), (12, True), (90, False)])
def test_a_faint_nose_is_brought_out_and_a_clear_one_stays(shade: int, *, rises: bool) -> None:
    image, features = draw_face()
    face = image.astype(int)
    face[145:170, 140:148] -= shade  # the side of the nose
    face[166:174, 144:176] -= shade  # and its base
    image = face.clip(0, 255).astype(np.uint8)
    stressed = stress(image, features)
    if rises:
        assert contrast(image) < VISIBLE
        assert contrast(stressed) > 1.4 * contrast(image)
    else:
        np.testing.assert_array_equal(stressed[140:180, 145:175], image[140:180, 145:175])


def test_a_closed_eye_is_not_painted_open() -> None:
    image = np.full((240, 320, 3), SKIN, np.uint8)
    _, features = draw_face()
    np.testing.assert_array_equal(stress(image, features), image)


@pytest.mark.parametrize("shift", [(-2000.0, 0.0), (0.0, 900.0), (-95.0, -118.0), (1e6, 1e6)])
def test_eyes_outside_and_at_the_border_do_no_harm(shift: tuple[float, float]) -> None:
    image, features = draw_face()
    assert stress(image, features + shift).shape == image.shape


def test_eyes_of_few_pixels_are_left_alone() -> None:
    image, features = draw_face(width=7)
    np.testing.assert_array_equal(stress(image, features), image)


def test_a_style_opens_the_eyes_where_they_are_in_the_photo() -> None:
    """Of the astronaut, comic draws the eyes anew, and everything else as it was."""
    pipeline = open_pipeline(Settings(generator="comic", styles=(), provider="cpu"))
    photo = PHOTO.read_bytes()
    drawer = pipeline.styles.drawer(Options())
    assert isinstance(drawer, StagedDrawer)
    assert drawer.model.features == "stressed"
    image, (cut,) = pipeline.cropper.crop(photo, Options(), Ticket(), 256)
    opened = drawer.draw(image, cut, Ticket()).cartoon
    drawer.model = replace(drawer.model, features="kept")
    kept = drawer.draw(image, cut, Ticket()).cartoon
    drawer.model = replace(drawer.model, features="stressed")
    assert cut.face is not None
    assert cut.face.features is not None
    unknown = replace(cut, face=replace(cut.face, features=None))
    np.testing.assert_array_equal(drawer.draw(image, unknown, Ticket()).cartoon, kept)

    changed = np.abs(opened - kept).max(axis=2) > 25
    ys, xs = np.nonzero(changed)
    assert ys.size > 30
    points = apply(inverse(cut.alignment.to_photo(256)), cut.face.features)
    for contour in (points[:16], points[16:32]):
        x, y = contour.mean(axis=0)
        near = np.hypot(xs - x, ys - y) < 1.4 * REACH * np.ptp(contour[:, 0])
        assert near.sum() > 15
        xs, ys = xs[~near], ys[~near]  # a generator sees around a pixel
    nose = (points[:32].mean(axis=0) + points[32]) / 2
    assert (np.hypot(xs - nose[0], ys - nose[1]) < 45).all()


def test_a_whole_photo_gets_open_eyes_too() -> None:
    pipeline = open_pipeline(Settings(generator="comic", styles=(), provider="cpu"))
    photo = PHOTO.read_bytes()
    kept = pipeline.cropper.whole(photo, Ticket()).astype(int)
    opened = pipeline.cropper.whole(photo, Ticket(), stressed=True).astype(int)
    assert 0.0002 < (np.abs(opened - kept).max(axis=2) > 8).mean() < 0.02
