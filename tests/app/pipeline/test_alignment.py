"""The crop rule is upstream's, to the pixel; the crop itself is upstream's to a few grey levels."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import upstream
from photo2cartoon.ground.errors import FaceTooSmall
from photo2cartoon.pipeline.alignment import (
    Alignment,
    crop_face,
    estimate_alignment,
    inscribe,
)
from photo2cartoon.pipeline.faces.detector import Face
from photo2cartoon.pipeline.faces.warp import apply, inverse


def face_at(
    centre: tuple[float, float], height: float, tilt: float, rng: np.random.Generator
) -> Face:
    """A face of random outline, turned by `tilt` degrees."""
    outline = rng.uniform([-0.4, -0.5], [0.4, 0.5], (33, 2)) * height
    eyes = np.array([[-0.3, -0.3], [0.3, -0.3]]) * height
    radians = np.radians(tilt)
    turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    return Face(1.0, eyes @ turn + centre, outline @ turn + centre)


def smooth_image(width: int, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


@pytest.mark.parametrize("seed", range(200))
def test_matrix_canvas_box_and_side_are_upstreams(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(200, 2000, 2))
    face = face_at(tuple(rng.uniform(0, 1500, 2)), rng.uniform(30, 900), rng.uniform(-89, 89), rng)

    ours = estimate_alignment(face, (width, height))
    theirs = upstream.align(face.eyes, face.outline, width, height)

    np.testing.assert_allclose(ours.matrix, theirs.matrix, rtol=0, atol=1e-9)
    assert ours.canvas == theirs.canvas
    assert ours.box == theirs.box
    assert ours.side == theirs.side


def test_the_worked_example_of_the_upstream_notes() -> None:
    outline = np.array([[100.7, 120.2], [200.3, 260.9]])
    face = Face(1.0, np.array([[120.0, 150.0], [180.0, 150.0]]), outline)

    alignment = estimate_alignment(face, (400, 400))

    assert alignment.box == (2, 7, 298, 303)
    assert alignment.side == 297


@pytest.mark.parametrize("tilt", [95, 135, 180, -135, -95])
def test_a_face_beyond_ninety_degrees_comes_out_upright(tilt: float) -> None:
    face = face_at((500, 400), 200, tilt, np.random.default_rng(0))
    alignment = estimate_alignment(face, (1000, 800))
    left_eye, right_eye = apply(alignment.matrix, face.eyes)
    assert left_eye[1] == pytest.approx(right_eye[1])
    assert right_eye[0] > left_eye[0]


@pytest.mark.parametrize(
    ("height", "tilt", "mean"),
    [
        (220, 0, 1.0),
        (220, 20, 1.0),
        (110, -35, 1.0),
        (60, 10, 1.5),  # enlarged: upstream's INTER_AREA makes blocks there, ours does not
    ],
)
def test_the_crop_differs_little_from_turning_the_whole_photo(
    height: float, tilt: float, mean: float
) -> None:
    rng = np.random.default_rng(1)
    image = smooth_image(1200, 900, rng)
    face = face_at((600, 450), height, tilt, rng)
    alignment = estimate_alignment(face, (1200, 900))

    ours = crop_face(image, alignment, 256).pixels.astype(int)
    theirs = upstream.crop(image, upstream.align(face.eyes, face.outline, 1200, 900), 256)

    difference = np.abs(ours - theirs.astype(int))
    assert difference.mean() < mean
    assert np.percentile(difference, 99) <= 8


def test_outside_the_photo_is_marked_and_goes_on_as_its_border() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :50] = 200
    alignment = Alignment(np.eye(2, 3), (100, 100), (-30, 0, 69, 99))

    crop = crop_face(image, alignment, 100)

    assert (crop.inside[:, :30] == 0).all()
    assert (crop.inside[:, 30:] == 1).all()
    assert (crop.pixels[:, :80] == 200).all()  # white fill, as upstream has it, would be 255


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_what_ends_at_the_border_goes_on_straight_and_is_not_mirrored(turns: int) -> None:
    image = np.full((100, 100, 3), 90, np.uint8)
    image[:, 40:60] = 200  # a neck
    image[70:80] = 20  # a chain: its mirror image must not be seen
    image = np.ascontiguousarray(np.rot90(image, turns))
    left, top = {0: (0, 30), 1: (30, 0), 3: (-30, 0)}[turns]
    alignment = Alignment(np.eye(2, 3), (100, 100), (left, top, left + 99, top + 99))

    crop = crop_face(image, alignment, 100)

    seen = np.rot90(crop.pixels, -turns)  # the photo ends after 70 rows
    assert (np.rot90(crop.inside, -turns)[70:] == 0).all()
    assert (seen[70:] == seen[70]).all()
    assert (seen[70:, 44:56] == 200).all()
    assert (seen[70:, :30] == 90).all()


def test_a_head_that_the_photo_cuts_goes_on_as_its_mirror_image() -> None:
    image = np.full((100, 100, 3), 90, np.uint8)
    image[:10, 30:70] = np.linspace(10, 60, 10, dtype=np.uint8)[:, None, None]  # hair
    alignment = Alignment(np.eye(2, 3), (100, 100), (0, -30, 99, 69))

    crop = crop_face(image, alignment, 100)

    assert (crop.inside[:30] == 0).all()
    np.testing.assert_array_equal(crop.pixels[:30], crop.pixels[60:30:-1])


def test_grain_at_the_border_does_not_become_stripes() -> None:
    image = np.zeros((512, 512, 3), np.uint8)
    image[:, ::2] = 200
    alignment = Alignment(np.eye(2, 3), (512, 512), (0, 100, 511, 611))
    pixels = crop_face(image, alignment, 512).pixels.astype(int)
    assert np.ptp(pixels[:410, 10:-10]) == 200
    assert np.ptp(pixels[414:, 10:-10]) < 10


def test_a_close_up_goes_on_as_its_mirror_image() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[60:80] = 200
    alignment = Alignment(np.eye(2, 3), (100, 100), (-30, 30, 129, 189))
    pixels = crop_face(image, alignment, 160).pixels
    assert (pixels[30:50] == 200).all()
    assert (pixels[90:108] == 200).all()


@pytest.mark.parametrize("size", [50, 100, 256])
def test_the_border_is_measured_in_pixels_of_the_square(size: int) -> None:
    image = np.zeros((400, 300, 3), np.uint8)
    turn = np.array([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0]])  # 53 degrees
    alignment = Alignment(turn, (0, 0), (200, -50, 399, 149))
    crop = crop_face(image, alignment, size)
    corner, *edges = apply(alignment.to_photo(size), np.array([[0.0, 0], [size - 1, 0], [9, 9]]))
    for point, found in zip((corner, *edges), crop.border[[0, 0, 9], [0, -1, 9]], strict=True):
        inside = min(point[0] + 0.5, 299.5 - point[0], point[1] + 0.5, 399.5 - point[1])
        assert found == pytest.approx(inside * size / 200, abs=1e-3)
    assert crop.border.min() < 0
    assert ((crop.border >= 0) == (crop.inside == 1)).all()


@pytest.mark.parametrize("tilt", [-170, -30, 0, 12, 45, 90])
def test_the_inscribed_square_touches_the_border_and_does_not_cross_it(tilt: float) -> None:
    rng = np.random.default_rng(0)
    face = face_at((60, 300), 250, tilt, rng)
    alignment = estimate_alignment(face, (200, 500))
    inner = inscribe(alignment, (200, 500))
    assert inner.side < alignment.side
    crop = crop_face(np.zeros((500, 200, 3), np.uint8), inner, inner.side)
    assert -1.5 < crop.border.min() < 2
    centres = [[[a.box[0] + a.box[2], a.box[1] + a.box[3]]] for a in (alignment, inner)]
    outer, middle = apply(inverse(alignment.matrix), np.concatenate(centres) / 2)
    assert middle == pytest.approx([100, min(max(outer[1], 100), 400)], abs=1.5)


def test_a_crop_of_the_whole_photo_is_the_photo() -> None:
    image = smooth_image(256, 256, np.random.default_rng(2))
    crop = crop_face(image, Alignment(np.eye(2, 3), (256, 256), (0, 0, 255, 255)), 256)
    np.testing.assert_array_equal(crop.pixels, image)
    assert crop.inside.all()


def test_a_small_face_is_refused() -> None:
    face = face_at((100, 100), 20, 0, np.random.default_rng(3))
    with pytest.raises(FaceTooSmall):
        estimate_alignment(face, (200, 200), min_face_px=32)
    assert estimate_alignment(face, (200, 200), min_face_px=10)
