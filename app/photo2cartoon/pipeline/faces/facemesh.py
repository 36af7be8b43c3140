"""FaceMesh: 468 landmarks of a face whose place is roughly known, and whether it is one at all.

MediaPipe's face_landmark network (Apache-2.0). The region of interest, the input scaling and the
point numbers follow MediaPipe 0.10.21.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.pipeline.faces.warp import Matrix, apply, cut_view, warp_square
from photo2cartoon.runtime.network import Network

INPUT_SIZE = 192
REGION_SCALE = 1.5  # MediaPipe's side of the region over the longer side of a box or of landmarks

EYE_CORNERS = (33, 263)  # outer corners, at image left and image right; iBUG-68's 36 and 45
INNER_EYE_CORNERS = (133, 362)
NOSE_TIP, MOUTH = 1, 13  # the mouth's point is the middle of the upper lip's lower edge
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
JAW_LEFT = (127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148)  # of the image
CHIN = 152
JAW_RIGHT = (377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356)
# Contours of both eyes, from the outer corner along the lower lid and back along the upper one, by
# MediaPipe's own drawing tables (mediapipe 0.10.21, face_mesh_connections.py).
LIDS = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)
FEATURES = (*LIDS[0], *LIDS[1], MOUTH)
OUTLINE = (*BROWS, *JAW_LEFT, CHIN, *JAW_RIGHT)  # the extremes of iBUG-68's points 0..26


@dataclass(frozen=True, slots=True)
class Region:
    """A turned square of an image.

    Attributes:
        centre: `(2,)` px, x before y.
        side: px.
        angle: radians, clockwise in the image (y down); 0 is upright.
        mirrored: whether its picture shows left and right swapped.
    """

    centre: NDArray[np.floating]
    side: float
    angle: float
    mirrored: bool = False

    def to_image(self, size: int) -> Matrix:
        """Return the map from pixels of a `size` px picture of this square to image pixels."""
        step = self.side / size
        cos, sin = math.cos(self.angle) * step, math.sin(self.angle) * step
        linear = np.array([[cos, -sin], [sin, cos]])
        if self.mirrored:
            linear[:, 0] *= -1
        return np.column_stack([linear, self.centre - linear @ np.full(2, (size - 1) / 2)])


class FaceMesh:
    """Landmarks in a region, with a score that tells faces from everything else."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def predict(
        self, image: NDArray[np.uint8], region: Region
    ) -> tuple[NDArray[np.float64], float]:
        """Find the landmarks of the face in `region` of `image` `(H, W, 3)` uint8 RGB.

        Returns:
            Landmarks `(468, 2)` in image pixels, and the score 0..1 that this is a face.
        """
        to_image = region.to_image(INPUT_SIZE)
        view = cut_view(image, to_image, INPUT_SIZE)
        square = warp_square(view, to_image, INPUT_SIZE, cv2.BORDER_REPLICATE)
        tensor = square.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        points, logit = self.network.run(np.ascontiguousarray(tensor))
        score = 1 / (1 + math.exp(-float(np.clip(logit[0, 0], -50, 50))))
        return apply(to_image, points.reshape(468, 3)[:, :2]), score


def region_of_box(
    box: NDArray[np.floating], eyes: NDArray[np.floating], scale: float = REGION_SCALE
) -> Region:
    """Return the mesh's region for a detector's box `(4,)` and eye centres `(2, 2)`.

    Args:
        box: left, top, right, bottom.
        eyes: eye centres, the one at image left first.
        scale: side of the region over the longer side of the box; it depends on the detector.
    """
    dx, dy = eyes[1] - eyes[0]
    side = float((box[2:] - box[:2]).max()) * scale
    return Region((box[:2] + box[2:]) / 2, side, math.atan2(dy, dx))


def region_of_landmarks(points: NDArray[np.float64]) -> Region:
    """Return the region for a second, closer look, from the first one's landmarks `(468, 2)`."""
    dx, dy = points[EYE_CORNERS[1]] - points[EYE_CORNERS[0]]
    angle = math.atan2(dy, dx)
    upright = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    turned = points @ upright.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    return Region((low + high) / 2 @ upright, float((high - low).max()) * REGION_SCALE, angle)
