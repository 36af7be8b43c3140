"""What looks like a face but is cut, imagined or the wrong way up is told from one."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.blazeface import Detection
from photo2cartoon.pipeline.faces.detector import CLEAR, STRICT_FAINT, _Found
from photo2cartoon.pipeline.faces.facemesh import Region, region_of_landmarks
from photo2cartoon.pipeline.faces.upright import agree, heed_gravity, is_plausible, is_squeezed
from photo2cartoon.pipeline.pipeline import Pipeline

SIZE = (200, 200)


@pytest.fixture(scope="module")
def image(photo: bytes) -> NDArray[np.uint8]:
    return decode_image(photo, 10**6)


@pytest.fixture(scope="module")
def points(pipeline: Pipeline, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The astronaut's landmarks: between 180 and 272 from left to right, 70 and 178 downwards."""
    first, _ = pipeline.cropper.detector.mesh.predict(
        image, Region(np.array([225.0, 125.0]), 170.0, 0.0)
    )
    return pipeline.cropper.detector.mesh.predict(image, region_of_landmarks(first))[0]


def seen(score: float, degrees: float, centre: float = 50.0) -> Detection:
    """A detection 60 px large whose eye line has this angle."""
    keypoints = np.full((6, 2), float(centre))
    keypoints[1] += 20 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    box = np.array([centre - 30, centre - 30, centre + 30, centre + 30], np.float32)
    return Detection(score, box, keypoints.astype(np.float32))


def test_the_mirror_shows_the_same_landmarks(
    pipeline: Pipeline, image: NDArray[np.uint8], points: NDArray[np.float64]
) -> None:
    region = region_of_landmarks(points)
    mirrored = Region(region.centre, region.side, region.angle, mirrored=True)
    in_mirror, score = pipeline.cropper.detector.mesh.predict(image, mirrored)
    assert score > 0.99
    assert agree(points, in_mirror)
    assert not agree(points, points)  # left and right are not swapped
    assert not agree(points, in_mirror + np.array([0.0, 6.0]))


def test_landmarks_of_a_face_are_plausible_whichever_way_it_lies(
    points: NDArray[np.float64],
) -> None:
    assert is_plausible(points, (512, 512))
    assert is_plausible(512 - points, (512, 512))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda points: points * [-1, 1] + [512, 0], id="left and right swapped"),
        pytest.param(lambda points: points * [1, -1] + [0, 512], id="eyes below the mouth"),
        pytest.param(lambda points: points - [215, 0], id="an eye beyond the left border"),
        pytest.param(lambda points: points + np.array([0, 420]), id="eyes beyond the lower border"),
    ],
)
def test_what_is_no_face(points: NDArray[np.float64], change: Any) -> None:
    assert not is_plausible(change(points), (512, 512))


def test_a_face_squeezed_into_the_picture(points: NDArray[np.float64]) -> None:
    corner = points.min(axis=0) - 5
    width, height = points.max(axis=0) - corner + 5
    assert is_squeezed(points - corner, (int(width), int(height)))
    assert not is_squeezed(points, (512, 512))  # small beside the picture
    assert not is_squeezed(points - points.min(axis=0) - 20, (70, 80))  # reaches beyond it


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        (seen(0.84, 0), False),
        (seen(0.82, 20), False),
        (seen(0.70, 0), True),  # the turned one is clearly more likely
        (seen(0.84, 150), True),  # neither is upright
        (seen(0.84, 0, centre=200), True),  # another head
    ],
)
def test_a_turned_head_gives_way_to_an_upright_one(other: Detection, *, kept: bool) -> None:
    turned = seen(0.83, 180)
    expected = [turned, other] if kept else [other]
    assert heed_gravity([turned, other]) == expected


class ImaginingMesh:
    """Sees a face, certainly; in the mirror it lies elsewhere."""

    def __init__(self, points: NDArray[np.float64], moved: float, mirrored_score: float) -> None:
        self.points, self.moved, self.mirrored_score = points, moved, mirrored_score

    def predict(
        self, image: NDArray[np.uint8], region: Region
    ) -> tuple[NDArray[np.float64], float]:
        if not region.mirrored:
            return self.points, 0.9999
        in_mirror = self.points.copy()
        in_mirror[[33, 263]] = self.points[[263, 33]]
        return in_mirror + np.array([0.0, self.moved]), self.mirrored_score


@pytest.mark.parametrize(
    ("score", "moved", "mirrored_score", "is_face"),
    [
        (CLEAR, 9.0, 0.1, True),  # clearly detected: not asked
        (CLEAR - 0.01, 0.0, 0.9999, True),
        (CLEAR - 0.01, 9.0, 0.9999, False),
        (CLEAR - 0.01, 0.0, 0.99, False),
    ],
)
def test_a_faint_detection_must_be_proven(
    points: NDArray[np.float64], score: float, moved: float, mirrored_score: float, *, is_face: bool
) -> None:
    mesh: Any = ImaginingMesh(points, moved, mirrored_score)
    found = _Found(mesh, np.zeros((512, 512, 3), np.uint8), 1.5, None)
    found.add([seen(score, 0, centre=225)], STRICT_FAINT)
    assert bool(found.faces) == is_face


# Left, top and side of squares cut from the astronaut's face, and by how much they are darkened:
# half faces that once came out on their side or upside down.
PARTS = [(177, 88, 64, 0.5), (172, 78, 64, 1.0), (214, 80, 63, 1.0), (165, 93, 78, 0.3)]


@pytest.mark.parametrize(("left", "top", "side", "light"), PARTS)
@pytest.mark.parametrize("every", [False, True])
def test_half_a_face_is_upright_or_none(
    pipeline: Pipeline,
    image: NDArray[np.uint8],
    points: NDArray[np.float64],
    left: int,
    top: int,
    side: int,
    light: float,
    *,
    every: bool,
) -> None:
    part = cv2.resize(image[top : top + side, left : left + side], None, fx=4, fy=4)
    for face in pipeline.cropper.detector.detect((part * light).astype(np.uint8), every=every):
        eyes = face.eyes / 4 + [left, top]
        assert eyes == pytest.approx(points[[33, 263]], abs=12)
