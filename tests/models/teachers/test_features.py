"""Landmarks in the comic teacher: eyes that look at somebody, noses that do not vanish."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon_models.teachers.comic import draw
from photo2cartoon_models.teachers.features import Points

Image = NDArray[np.uint8]

EYE = (40.0, 16.0)  # half width and half height, px
EYES = {"left_eye": (170.0, 220.0), "right_eye": (342.0, 220.0)}
NOSE = (slice(295, 320), slice(220, 292))


def contour(centre: tuple[float, float], radii: tuple[float, float]) -> list[list[float]]:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    x, y = (middle + radius * f(angles) for middle, radius, f in
            zip(centre, radii, (np.cos, np.sin), strict=True))  # fmt: skip
    return np.stack([x, y], axis=1).tolist()  # type: ignore[no-any-return]


POINTS: Points = {name: contour(centre, EYE) for name, centre in EYES.items()} | {
    "mouth": contour((256.0, 370.0), (60.0, 14.0))
}


def face(iris: tuple[int, int, int] = (60, 90, 150), white: int = 215) -> Image:
    """Draw a face with a hint of a nose, `(512, 512, 3)` uint8 RGB."""
    picture = np.full((512, 512, 3), (205, 165, 140), np.uint8)
    for x, y in EYES.values():
        centre = (round(x), round(y))
        cv2.ellipse(picture, centre, (40, 16), 0, 0, 360, (white,) * 3, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, centre, 15, iris, cv2.FILLED, cv2.LINE_AA)
        pupil = (round(0.25 * iris[0]), round(0.25 * iris[1]), round(0.25 * iris[2]))
        cv2.circle(picture, centre, 6, pupil if white > 200 else iris, cv2.FILLED, cv2.LINE_AA)
    cv2.ellipse(picture, (256, 300), (30, 8), 0, 0, 180, (180, 140, 118), 6, cv2.LINE_AA)
    cv2.ellipse(picture, (256, 370), (60, 14), 0, 0, 360, (170, 70, 70), cv2.FILLED, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.uint8)


def lab(picture: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def eye_of(picture: Image) -> NDArray[np.float32]:
    """The left iris, Lab."""
    return lab(picture)[206:235, 156:185]


def test_an_iris_keeps_its_colour_and_gets_a_catch_light() -> None:
    photo = face()
    without, drawn = eye_of(draw(photo)), eye_of(draw(photo, points=POINTS))
    assert np.median(drawn[:, :, 2]) < np.median(without[:, :, 2]) - 5  # bluer
    light = (slice(8, 16), slice(6, 14))  # above and left of the pupil
    assert drawn[light][:, :, 0].max() > 90
    assert without[light][:, :, 0].max() < 60


def test_an_eye_in_the_dark_stays_as_it_is() -> None:
    photo = face(iris=(150, 120, 105), white=160)
    assert np.abs(eye_of(draw(photo, points=POINTS)) - eye_of(draw(photo))).max() < 5


@pytest.mark.parametrize("size", [512, 256])
def test_a_faint_nose_is_drawn(size: int) -> None:
    photo = np.asarray(cv2.resize(face(), (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    factor = size / 512
    points = {name: (np.asarray(part) * factor).tolist() for name, part in POINTS.items()}

    def ink(picture: Image) -> int:
        whole = cv2.resize(picture, (512, 512), interpolation=cv2.INTER_AREA)
        return int((lab(np.asarray(whole, np.uint8))[NOSE][:, :, 0] < 68).sum())

    assert ink(draw(photo, points=points)) > 2 * ink(draw(photo)) + 20


def test_nothing_changes_away_from_the_features() -> None:
    photo = face()
    off = np.abs(draw(photo, points=POINTS).astype(int) - draw(photo))
    assert off[:130].max() == 0
    assert off[450:].max() == 0
