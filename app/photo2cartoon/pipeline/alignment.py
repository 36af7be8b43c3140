"""Alignment and crop: photo2cartoon's square around a face, eyes level.

Formulas: minivision-ai/photo2cartoon @ 6204e27, `utils/preprocess.py`, with atan2 in place of
arctan: the same angle below 90 degrees of tilt, and the correct one beyond.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.errors import FaceTooSmall
from photo2cartoon.pipeline.faces.detector import Face
from photo2cartoon.pipeline.faces.warp import (
    Matrix,
    apply,
    compose,
    cut_view,
    extend,
    inverse,
    warp_square,
)

ABOVE = 0.8  # share of the landmark box's height kept above it, for forehead and hair
AROUND = 0.3  # share of its width or height kept on the other three sides
COVERED = 0.55  # share of the square that lies in the photo; with less, the face is a close-up
SAMPLES = 64  # a side, by which that share is found


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where the crop lies, as upstream computes it: the photo turned on a canvas, a square cut out.

    Attributes:
        matrix: `(2, 3)` float64: photo pixels to canvas pixels, eyes level on the canvas.
        canvas: width and height of the canvas, px: the whole turned photo.
        box: left, top, right, bottom of the square on the canvas, px, all inclusive; it may lie
            partly outside the canvas.
    """

    matrix: Matrix
    canvas: tuple[int, int]
    box: tuple[int, int, int, int]

    @property
    def side(self) -> int:
        """Side of the square, canvas px (= photo px)."""
        return self.box[3] - self.box[1] + 1

    def to_photo(self, size: int) -> Matrix:
        """Return the map from pixels of the square at `size` px to photo pixels, `(2, 3)`."""
        scale = self.side / size
        shift = (scale - 1) / 2  # centres: canvas = left + (x + 0.5) * scale - 0.5
        square = np.array([[scale, 0, self.box[0] + shift], [0, scale, self.box[1] + shift]])
        return compose(inverse(self.matrix), square)


@dataclass(frozen=True, slots=True)
class Crop:
    """The aligned square of a photo.

    Attributes:
        pixels: `(S, S, 3)` uint8 RGB; outside the photo it goes on.
        border: `(S, S)` float32, how far each pixel's centre lies inside the photo's border, in
            pixels of the square; negative outside the photo.
    """

    pixels: NDArray[np.uint8]
    border: NDArray[np.float32]

    @property
    def inside(self) -> NDArray[np.float32]:
        """`(S, S)` float32, 1 inside the photo, 0 outside."""
        return np.asarray(self.border >= 0, np.float32)


def estimate_alignment(face: Face, image_size: tuple[int, int], min_face_px: int = 0) -> Alignment:
    """Level the eyes of `face` and frame it.

    Args:
        face: a face in photo pixels.
        image_size: width and height of the photo, px.
        min_face_px: smallest longer side of the landmark box.

    Raises:
        FaceTooSmall: the face is smaller than `min_face_px`.
    """
    matrix, canvas = _level_eyes(face.eyes, image_size)
    points = apply(matrix, face.outline)
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    if max(bottom - top, right - left) < max(1, min_face_px):
        raise FaceTooSmall
    return Alignment(matrix, canvas, _square(left, top, right, bottom))


def _level_eyes(
    eyes: NDArray[np.float64], image_size: tuple[int, int]
) -> tuple[Matrix, tuple[int, int]]:
    width, height = image_size
    dx, dy = eyes[1] - eyes[0]
    angle = math.atan2(dy, dx)
    cos, sin = math.cos(angle), math.sin(angle)
    canvas_width = int(width * abs(cos) + height * abs(sin))
    canvas_height = int(width * abs(sin) + height * abs(cos))
    shift_x = canvas_width // 2 - width // 2
    shift_y = canvas_height // 2 - height // 2
    matrix = np.array(
        [
            [cos, sin, (1 - cos) * width / 2 - sin * height / 2 + shift_x],
            [-sin, cos, sin * width / 2 + (1 - cos) * height / 2 + shift_y],
        ]
    )
    return matrix, (canvas_width, canvas_height)


def _square(left: float, top: float, right: float, bottom: float) -> tuple[int, int, int, int]:
    """Grow the landmark box by upstream's margins and make it square; `int` truncates there too."""
    width, height = right - left, bottom - top
    box_top = int(top - ABOVE * height)
    box_bottom = int(bottom + AROUND * height)
    box_left = int(left - AROUND * width)
    box_right = int(right + AROUND * width)
    box_width, box_height = box_right - box_left, box_bottom - box_top
    if box_height > box_width:
        box_left -= (box_height - box_width) // 2
        box_right = box_left + box_height
    else:
        box_top -= (box_width - box_height) // 2
        box_bottom = box_top + box_width
    return box_left, box_top, box_right, box_bottom


def centre_square(image_size: tuple[int, int]) -> Alignment:
    """Return the largest square in the middle of a photo of `image_size`, width and height, px."""
    width, height = image_size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    upright = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return Alignment(upright, image_size, (left, top, left + side - 1, top + side - 1))


def inscribe(alignment: Alignment, image_size: tuple[int, int]) -> Alignment:
    """Return the largest level square within the photo, as near to `alignment`'s as there is room.

    Args:
        alignment: a square that may lie partly outside.
        image_size: width and height of the photo, px.
    """
    limits = np.array(image_size, float)
    extent = limits.min() / 2  # half of what the turned square takes along the photo's sides
    side = max(1, int(2 * extent / np.abs(alignment.matrix[0, :2]).sum()))
    left, top, right, bottom = alignment.box
    centre = np.array([[left + right, top + bottom]]) / 2
    centre = apply(inverse(alignment.matrix), centre).clip(extent, limits - extent)
    (x, y) = (apply(alignment.matrix, centre)[0] - (side - 1) / 2).round().astype(int).tolist()
    return replace(alignment, box=(x, y, x + side - 1, y + side - 1))


def crop_face(image: NDArray[np.uint8], alignment: Alignment, size: int) -> Crop:
    """Cut the square of `alignment` out of `image` `(H, W, 3)` uint8 RGB at `size` px.

    Outside the photo the crop goes on with the colours of the photo's border: shoulders go on as
    shoulders. Shown upstream's white there, a matte network mistakes the photo's slanted border for
    the person's outline, and a generator draws that outline. `border` says where the drawing has to
    end. A close-up is continued by its mirror image: of a head without forehead or cheeks the matte
    network would take stripes for background.
    """
    border = _border(alignment.to_photo(size), image.shape[1], image.shape[0], size)
    border /= np.float32(alignment.side / size)
    return Crop(cut_square(image, alignment, size), border)


def cut_square(image: NDArray[np.uint8], alignment: Alignment, size: int) -> NDArray[np.uint8]:
    """Return the pixels of `crop_face` alone, `(size, size, 3)` uint8 RGB."""
    to_photo = alignment.to_photo(size)
    view = cut_view(image, to_photo, size)
    if is_close_up(alignment, (image.shape[1], image.shape[0])):
        return warp_square(view, to_photo, size, cv2.BORDER_REFLECT_101)
    return warp_square(extend(view, to_photo, size), to_photo, size, cv2.BORDER_REPLICATE)


def is_close_up(alignment: Alignment, image_size: tuple[int, int]) -> bool:
    """Tell whether a photo of `image_size`, width and height, has but the middle of the square."""
    border = _border(alignment.to_photo(SAMPLES), *image_size, SAMPLES)
    return bool((border >= 0).mean() < COVERED)


def _border(to_photo: Matrix, width: int, height: int, size: int) -> NDArray[np.float32]:
    """Return the distance of each pixel to the photo's border, `(size, size)`, photo px.

    The smallest distance to the four lines on which the border lies: negative outside.
    """
    x = np.arange(size, dtype=np.float32)[None, :]
    y = np.arange(size, dtype=np.float32)[:, None]
    (xx, xy, x0), (yx, yy, y0) = to_photo.astype(np.float32)
    photo_x, photo_y = xx * x + xy * y + x0, yx * x + yy * y + y0  # (size, size)
    across = width / 2 - np.abs(photo_x + (0.5 - width / 2))
    down = height / 2 - np.abs(photo_y + (0.5 - height / 2))
    return np.asarray(np.minimum(across, down), np.float32)
