"""Detector geometry: letterbox and anchors in, merged boxes and keypoints out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.blazeface import (
    FULL_RANGE,
    SHORT_RANGE,
    BlazeFace,
    BlazeFaceCascade,
    _anchor_centres,
    letterbox,
    weighted_suppression,
)
from photo2cartoon.pipeline.pipeline import Pipeline


def short_range(pipeline: Pipeline) -> BlazeFace:
    finder = pipeline.cropper.detector.finder
    assert isinstance(finder, BlazeFaceCascade)
    return finder.short


def boxes(*corners: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Candidates `(K, 8, 2)` whose six keypoints all lie in the box's middle."""
    rows = []
    for left, top, right, bottom in corners:
        middle = [(left + right) / 2, (top + bottom) / 2]
        rows.append([[left, top], [right, bottom], *[middle] * 6])
    return np.array(rows, np.float32)


@pytest.mark.parametrize(
    ("layout", "size", "count"),
    [(SHORT_RANGE, 128, 896), (FULL_RANGE, 192, 2304), (FULL_RANGE, 384, 9216)],
)
def test_anchor_counts_are_mediapipes(
    layout: tuple[tuple[int, int], ...], size: int, count: int
) -> None:
    anchors = _anchor_centres(size, layout)
    assert anchors.shape == (count, 2)
    assert tuple(anchors[0]) == (layout[0][0] / 2, layout[0][0] / 2)
    assert anchors.max() < size


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (100, 100), (50, 20)])
def test_letterbox_maps_back(width: int, height: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 2 :, width // 2 :] = 255
    canvas, scale, offset = letterbox(image, 128)
    middle = np.array([width / 2, height / 2]) * scale + offset
    x, y = (int(value) for value in middle)
    assert canvas.shape == (128, 128, 3)
    assert canvas[y - 3, x - 3].max() == 0
    assert canvas[y + 3, x + 3].min() == 255
    assert np.array([width, height]) * scale + 2 * offset == pytest.approx([128, 128], abs=1.1)


def test_overlapping_candidates_merge_by_score_and_others_stay() -> None:
    points = boxes((0, 0, 10, 10), (2, 0, 12, 10), (50, 50, 60, 60))
    scores = np.array([0.9, 0.6, 0.7])
    first, second = weighted_suppression(scores, points)
    assert (first.score, second.score) == (0.9, 0.7)
    assert first.box[0] == pytest.approx(2 * 0.6 / 1.5)
    assert second.box == pytest.approx([50, 50, 60, 60])
    assert second.keypoints == pytest.approx(np.full((6, 2), 55))


def test_a_degenerate_box_does_not_loop() -> None:
    assert len(weighted_suppression(np.array([0.9]), boxes((5, 5, 5, 5)))) == 1
    assert weighted_suppression(np.zeros(0), boxes()[:0].reshape(0, 8, 2)) == []


def test_the_photo_has_one_face_where_it_is(pipeline: Pipeline, photo: bytes) -> None:
    detector = short_range(pipeline)
    (candidates,) = detector.scan(decode_image(photo, 10**6))
    certain = candidates.above(0.5)
    assert len(certain) == 1
    assert len(candidates.scores) > 1
    assert len(candidates.above(0.3)) >= 1
    left, top, right, bottom = certain[0].box
    assert 160 < left < 200 < 260 < right < 300
    assert 50 < top < 120 < 160 < bottom < 200
    right_eye, left_eye = certain[0].keypoints[:2]
    assert right_eye[0] < left_eye[0]


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_turned_photo_is_found_in_its_own_pixels(
    pipeline: Pipeline, photo: bytes, turn: int
) -> None:
    image = decode_image(photo, 10**6)[:400, 60:]  # not square: 452 x 400
    upright = short_range(pipeline).scan(image)[0].above(0.5)[0]
    stored = np.ascontiguousarray(np.rot90(image, -turn))

    found = short_range(pipeline).scan(stored, turns=(0, 1, 2, 3))[turn].above(0.5)

    assert len(found) == 1
    height, width = image.shape[:2]
    expected = upright.keypoints
    for _ in range(turn):  # np.rot90(., -1): x -> height - 1 - y
        expected = np.stack([height - 1 - expected[:, 1], expected[:, 0]], axis=-1)
        height, width = width, height
    assert found[0].keypoints == pytest.approx(expected, abs=3)
    left, top, right, bottom = found[0].box
    assert left < right
    assert top < bottom
