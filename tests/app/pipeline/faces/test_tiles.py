"""Tiles cover a picture at a bounded cost, and small heads are found in them, each once."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.tiles import MOST, OVERLAP, are_inside, lay_tiles
from photo2cartoon.pipeline.pipeline import Pipeline

SMALLEST = 384
SIZES = [(1280, 960), (960, 1280), (4000, 400), (6000, 4000), (300, 2000), (1281, 3), (40_000, 9)]


@pytest.mark.parametrize("size", SIZES)
def test_heads_up_to_the_overlap_are_whole_in_one_of_few_tiles(size: tuple[int, int]) -> None:
    tiles = lay_tiles(*size, SMALLEST)
    assert 1 < len(tiles) <= MOST
    side = tiles[0][2]
    assert {tile[2] for tile in tiles} == {side}
    assert side >= SMALLEST
    head = np.array([min(int(OVERLAP * side), length) for length in size], np.int64)
    random = np.random.default_rng(0)
    corners = random.integers(0, np.array(size, np.int64) - head + 1, (500, 2))
    boxes = np.stack([corners, corners + head], axis=1).astype(np.float32)
    seen = np.zeros(len(boxes), bool)
    for left, top, side in tiles:
        seen |= ((boxes >= [left, top]) & (boxes <= [left + side, top + side])).all(axis=(1, 2))
    assert seen.all()


@pytest.mark.parametrize("size", [(1, 1), (384, 384), (500, 400), (3, 500)])
def test_a_picture_that_the_detector_sees_as_large_needs_no_tiles(size: tuple[int, int]) -> None:
    assert lay_tiles(*size, SMALLEST) == []


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((110, 10, 150, 50), True),
        ((90, 10, 150, 50), False),  # cut on the left, where the picture goes on
        ((170, 10, 205, 50), False),
        ((110, -5, 150, 50), True),  # cut by the picture itself
        ((110, 70, 150, 110), True),
    ],
)
def test_heads_that_a_tile_cuts_are_left_to_the_next(
    box: tuple[int, int, int, int], *, expected: bool
) -> None:
    boxes = np.array(box, np.float32).reshape(1, 2, 2)
    assert are_inside(boxes, (100, 0, 100), (300, 100)).tolist() == [expected]


@pytest.fixture(scope="module")
def head(photo: bytes) -> NDArray[np.uint8]:
    """The astronaut's head, 180 px; its face is .51 of that."""
    return decode_image(photo, 10**6)[40:220, 130:310]


def lay(scene: NDArray[np.uint8], head: NDArray[np.uint8], left: int, top: int, side: int) -> None:
    small = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    scene[top : top + side, left : left + side] = small


def test_small_heads_of_a_group_are_found_once_each(
    pipeline: Pipeline, head: NDArray[np.uint8]
) -> None:
    scene = np.full((960, 1280, 3), 128, np.uint8)
    places = [(left, top) for top in (60, 340, 620) for left in range(40, 1200, 130)]
    for left, top in places:
        lay(scene, head, left, top, 50)
    faces = pipeline.cropper.detector.detect(scene, every=True)
    assert len(faces) == len(places)
    middles = sorted((face.eyes.mean(axis=0) for face in faces), key=lambda m: (m[1] // 100, m[0]))
    expected = np.array(places) + np.array([96, 62]) * 50 / 180
    assert np.array(middles) == pytest.approx(expected, abs=4)


@pytest.mark.parametrize("size", [(1280, 960), (4000, 400)])
def test_a_small_head_alone_is_found(
    pipeline: Pipeline, head: NDArray[np.uint8], size: tuple[int, int]
) -> None:
    scene = np.full((size[1], size[0], 3), 128, np.uint8)
    lay(scene, head, size[0] // 3, 200, 50)
    (face,) = pipeline.cropper.detector.detect(scene)
    expected = np.array([size[0] // 3, 200]) + np.array([96, 62]) * 50 / 180
    assert face.eyes.mean(axis=0) == pytest.approx(expected, abs=4)
