"""Upstream's alignment, written naively from its formulas: what ours is measured against.

minivision-ai/photo2cartoon @ 6204e27, `utils/preprocess.py`: the whole photo is turned on a white
canvas, a square is cut, and only then shrunk. Slow and simple on purpose.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class NaiveAlignment:
    """Upstream's intermediate values: `matrix` (2, 3), `canvas` (w, h), `box` and `side` in px."""

    matrix: NDArray[np.float64]
    canvas: tuple[int, int]
    box: tuple[int, int, int, int]  # left, top, right, bottom, inclusive
    side: int


def align(
    eyes: NDArray[np.float64], points: NDArray[np.float64], width: int, height: int
) -> NaiveAlignment:
    """Align by eye corners `(2, 2)` and landmarks `(N, 2)` of a photo of `width` x `height` px."""
    left_eye, right_eye = eyes
    radians = np.arctan((left_eye[1] - right_eye[1]) / (left_eye[0] - right_eye[0]))
    cos, sin = np.cos(radians), np.sin(radians)
    new_width = int(width * abs(cos) + height * abs(sin))
    new_height = int(width * abs(sin) + height * abs(cos))
    shift = new_width // 2 - width // 2, new_height // 2 - height // 2
    centre = width / 2, height / 2
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, float(np.degrees(radians)), 1), np.float64)
    matrix[:, 2] += shift
    turned = np.array([matrix @ [x, y, 1] for x, y in points])
    left, top = turned.min(axis=0)
    right, bottom = turned.max(axis=0)
    box = [
        int(left - 0.3 * (right - left)),
        int(top - 0.8 * (bottom - top)),
        int(right + 0.3 * (right - left)),
        int(bottom + 0.3 * (bottom - top)),
    ]
    box_width, box_height = box[2] - box[0], box[3] - box[1]
    if box_height > box_width:
        box[0] -= (box_height - box_width) // 2
        box[2] = box[0] + box_height
    else:
        box[1] -= (box_width - box_height) // 2
        box[3] = box[1] + box_width
    side = box[3] - box[1] + 1
    return NaiveAlignment(matrix, (new_width, new_height), (box[0], box[1], box[2], box[3]), side)


def crop(image: NDArray[np.uint8], alignment: NaiveAlignment, size: int) -> NDArray[np.uint8]:
    """Turn, cut and shrink `image` `(H, W, 3)` to `(size, size, 3)` uint8, white outside it."""
    white = (255.0, 255.0, 255.0)
    canvas = cv2.warpAffine(image, alignment.matrix, alignment.canvas, borderValue=white)
    left, top, right, bottom = alignment.box
    square = np.full((alignment.side, alignment.side, 3), 255, np.uint8)
    inner = canvas[max(0, top) : bottom + 1, max(0, left) : right + 1]
    y, x = max(0, -top), max(0, -left)
    square[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)
