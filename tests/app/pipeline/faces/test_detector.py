"""The cascade finds real faces at any usual size and tilt, and nothing else."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon.ground.errors import NoFaceFound, NoSuchFace
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.blazeface import Detection
from photo2cartoon.pipeline.faces.detector import (
    CHIN_DROP,
    LENIENT,
    STRICT,
    Face,
    Rule,
    _Found,
    lower_chin,
    select_faces,
)
from photo2cartoon.pipeline.faces.facemesh import FaceMesh, Region, region_of_landmarks
from photo2cartoon.pipeline.pipeline import Pipeline


@pytest.fixture(scope="session")
def image(photo: bytes) -> NDArray[np.uint8]:
    return decode_image(photo, 10**6)


def test_the_face_lies_where_it_is(pipeline: Pipeline, image: NDArray[np.uint8]) -> None:
    (face,) = pipeline.cropper.detector.detect(image)
    assert face.score > 0.99
    assert face.eyes == pytest.approx(np.array([[194, 101], [257, 104]]), abs=4)
    left, top, right, bottom = face.box
    assert (left, right) == (pytest.approx(179, abs=5), pytest.approx(273, abs=5))
    assert (top, bottom) == (pytest.approx(86, abs=5), pytest.approx(178, abs=5))


@pytest.mark.parametrize("tilt", [-60, -30, 15, 45])
def test_a_tilted_face_turns_with_the_photo(
    pipeline: Pipeline, image: NDArray[np.uint8], tilt: float
) -> None:
    (upright,) = pipeline.cropper.detector.detect(image)
    turn = cv2.getRotationMatrix2D((225, 130), tilt, 1.0)
    turned = cv2.warpAffine(image, turn, (512, 512)).astype(np.uint8)

    (face,) = pipeline.cropper.detector.detect(turned)

    dx, dy = face.eyes[1] - face.eyes[0]
    assert np.degrees(np.arctan2(dy, dx)) == pytest.approx(-tilt, abs=5)
    expected = upright.eyes @ turn[:, :2].T + turn[:, 2]
    assert face.eyes == pytest.approx(expected, abs=5)


@pytest.mark.parametrize("face_share", [0.35, 0.2, 0.1])
def test_small_faces_in_large_scenes_are_found(
    pipeline: Pipeline, image: NDArray[np.uint8], face_share: float
) -> None:
    head = image[40:220, 130:310]  # the face is .51 of its height
    side = int(1280 * face_share / 0.51)
    scene = np.full((960, 1280, 3), 128, np.uint8)
    head = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    scene[40 : 40 + side, 60 : 60 + side] = head
    (face,) = pipeline.cropper.detector.detect(scene)
    assert face.box[3] - face.box[1] == pytest.approx(side * 0.51, rel=0.1)


@pytest.mark.parametrize("kind", ["white", "noise", "gradient", "no head"])
def test_no_face_where_there_is_none(
    pipeline: Pipeline, image: NDArray[np.uint8], kind: str
) -> None:
    pictures = {
        "white": np.full((300, 300, 3), 255, np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8),
        "gradient": np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3)),
        "no head": np.ascontiguousarray(image[260:]),
    }
    assert pipeline.cropper.detector.detect(pictures[kind]) == []


def test_a_second_look_starts_from_the_first_ones_landmarks(
    pipeline: Pipeline, image: NDArray[np.uint8]
) -> None:
    mesh: FaceMesh = pipeline.cropper.detector.mesh
    rough = Region(np.array([232.0, 130.0]), 170.0, 0.2)
    points, score = mesh.predict(image, rough)
    closer = region_of_landmarks(points)
    assert score > 0.9
    assert closer.angle == pytest.approx(0, abs=0.12)
    assert closer.centre == pytest.approx([225, 125], abs=12)


def test_the_mesh_tells_a_face_from_its_absence(
    pipeline: Pipeline, image: NDArray[np.uint8]
) -> None:
    _, score = pipeline.cropper.detector.mesh.predict(
        image, Region(np.array([400.0, 400.0]), 150.0, 0.0)
    )
    assert score < 0.5


def test_faces_are_selected_by_size_or_place() -> None:
    left, large, right = (
        Face(0.99, np.array([[x, 0.0], [x + 1, 0.0]]), np.array([[x, 0.0], [x + side, side]]))
        for x, side in ((0.0, 10.0), (50.0, 20.0), (99.0, 5.0))
    )
    faces = [right, large, left]
    assert select_faces(faces, "largest") == [large]
    assert select_faces(faces, "all") == [left, large, right]
    assert select_faces(faces, 0) == [left]
    assert select_faces(faces, 2) == [right]
    with pytest.raises(NoSuchFace):
        select_faces(faces, 3)
    for choice in ("largest", "all", 0):
        with pytest.raises(NoFaceFound):
            select_faces([], choice)


@pytest.mark.parametrize("tilt", [0.0, 40.0, 170.0])
def test_the_chin_moves_down_the_face_whatever_its_tilt(tilt: float) -> None:
    radians = np.radians(tilt)
    turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    eyes = np.array([[-30.0, 0.0], [30.0, 0.0]]) @ turn
    outline = np.array([[-40.0, -20.0], [0.0, 80.0], [40.0, -20.0]]) @ turn
    lowered = lower_chin(outline, eyes) @ turn.T
    assert lowered == pytest.approx(
        np.array([[-40.0, -20.0], [0.0, 80.0 + CHIN_DROP * 100], [40.0, -20.0]])
    )


def face_points(*, mirrored: bool = False) -> NDArray[np.float64]:
    """Landmarks `(468, 2)` of an upright face around (0, 0), 40 px large."""
    points = np.random.default_rng(0).uniform(-20, 20, (468, 2))
    left, right = (263, 362), (33, 133)
    for corners, x in (
        ((right, -10.0), (left, 10.0)) if not mirrored else ((right, 10.0), (left, -10.0))
    ):
        points[list(corners)] = [[x, -5.0], [x / 3, -5.0]]
    points[1], points[13], points[152] = [0.0, 3.0], [0.0, 10.0], [0.0, 18.0]
    return points


class ScriptedMesh:
    """Answers by which way up it is shown the face: upright, or on its side."""

    def __init__(self, upright: float, on_side: float) -> None:
        self.scores = upright, on_side

    def predict(
        self, image: NDArray[np.uint8], region: Region
    ) -> tuple[NDArray[np.float64], float]:
        cos, sin = np.cos(region.angle), np.sin(region.angle)
        upright = face_points(mirrored=region.mirrored)
        points = upright @ np.array([[cos, sin], [-sin, cos]]) + region.centre
        return points, self.scores[abs(region.angle) > 0.5]


def seen(score: float, angle: float, turn: int) -> Detection:
    """A detection at (50, 50) whose eye line has this angle."""
    keypoints = np.full((6, 2), 50.0)
    keypoints[1] += 20 * np.array([np.cos(angle), np.sin(angle)])
    box = np.array([20.0, 20.0, 80.0, 80.0], np.float32)
    return Detection(score, box, keypoints.astype(np.float32), turn)


@pytest.mark.parametrize(
    ("upright", "on_side", "rule", "wins"),
    [
        (0.9999, 0.93, STRICT, "upright"),
        (0.93, 0.9999, STRICT, "on its side"),
        (0.80, 0.93, LENIENT, "upright"),  # faint scores do not overrule the detector
    ],
)
@pytest.mark.parametrize("first", ["upright", "on its side"])
def test_two_sides_of_one_face(
    upright: float, on_side: float, rule: Rule, wins: str, first: str
) -> None:
    scores = (0.9, 0.8) if first == "upright" else (0.8, 0.9)
    looks = [seen(scores[0], 0.0, 0), seen(scores[1], np.pi / 2, 3)]
    mesh: Any = ScriptedMesh(upright, on_side)
    found = _Found(mesh, np.zeros((100, 100, 3), np.uint8), 1.5, None)
    found.add(sorted(looks, key=lambda look: -look.score), rule)
    (face,) = found.faces
    dx, dy = face.eyes[1] - face.eyes[0]
    expected = first if rule is LENIENT else wins
    assert (abs(dy) > abs(dx)) == (expected == "on its side")
