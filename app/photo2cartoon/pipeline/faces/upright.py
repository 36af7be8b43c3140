"""Whether a find is a face at all, whole enough and the right way up.

FaceMesh always draws a face: shown a cheek or a face upside down it may do so with a good score.
These observations tell such finds from faces: its landmarks are in a face's order, and the eyes in
the picture; it gives the same landmarks for the mirrored picture; a face that the picture cuts
reaches beyond it; and no detection speaks for the same head the other way up.
`python -m benchmarks.turned` counts what passes.
"""

import numpy as np
from numpy.typing import NDArray

from photo2cartoon.pipeline.faces.blazeface import Detection
from photo2cartoon.pipeline.faces.facemesh import (
    CHIN,
    EYE_CORNERS,
    INNER_EYE_CORNERS,
    MOUTH,
    NOSE_TIP,
)

ANCHORS = (*EYE_CORNERS, NOSE_TIP, CHIN)
MIRRORED = (*reversed(EYE_CORNERS), NOSE_TIP, CHIN)  # a mirrored face's left eye is its right one
APART = 0.06  # share of the eye distance; .05 is the 95th percentile of whole faces
TURNED = np.radians(60)
LARGE = 0.6  # share of the image's width or height
WHOLE = 0.95  # share of the landmarks; of a cropped face's, .95 and less lie in the image
GRAVITY = 0.04  # by how much a turned head must score higher than an upright one; they do by .07


def is_plausible(points: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Tell whether landmarks have a face's order from eyes to chin, with both eyes in the image.

    Args:
        points: FaceMesh's landmarks `(468, 2)`, px of the image, x before y.
        size: width and height of the image, px.
    """
    left, right = (
        points[[outer, inner]].mean(axis=0)
        for outer, inner in zip(EYE_CORNERS, INNER_EYE_CORNERS, strict=True)
    )
    x, y = right - left
    nose, mouth, chin = (points[[NOSE_TIP, MOUTH, CHIN]] - left) @ np.array([-y, x])  # depths
    in_image = all((eye >= 0).all() and (eye < size).all() for eye in (left, right))
    # The tip of the nose may lie as high as the eyes: in heads seen from below.
    return bool(in_image and 0 < mouth < chin and nose < mouth)


def agree(points: NDArray[np.float64], mirrored: NDArray[np.float64]) -> bool:
    """Tell whether landmarks `(468, 2)` and those seen in the mirrored picture are the same.

    Both are in pixels of the image. Where there is a face they hardly differ; a face that the
    network only imagines lies elsewhere in the mirror.
    """
    distance = np.linalg.norm(points[EYE_CORNERS[1]] - points[EYE_CORNERS[0]])
    apart = np.linalg.norm(mirrored[list(MIRRORED)] - points[list(ANCHORS)], axis=1).max()
    return bool(apart < APART * distance)


def is_squeezed(points: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Tell whether landmarks `(468, 2)` fill an image of `size`, and still hardly reach beyond it.

    A whole face that large is detected clearly, and the landmarks of one that the image cuts reach
    beyond its borders. What is neither is the network's attempt to fit a whole face into a part of
    one, with nostrils for eyes.
    """
    share = (points.max(axis=0) - points.min(axis=0)) / size
    inside = ((points >= 0) & (points < size)).all(axis=1).mean()
    return bool(share.max() > LARGE and inside > WHOLE)


def heed_gravity(detections: list[Detection]) -> list[Detection]:
    """Drop turned heads where an upright one is about as likely, because people rarely lie.

    A detection is dropped if another at the same place is nearer upright by 60 degrees or more and
    scores nearly as high. Photos that lie on their side are not concerned: there the upright
    detection, if any, scores clearly lower.
    """
    return [
        detection
        for detection in detections
        if not any(
            tilt(other) < tilt(detection) - TURNED
            and other.score > detection.score - GRAVITY
            and are_one(other, detection)
            for other in detections
        )
    ]


def tilt(detection: Detection) -> float:
    """Return by how much the head is turned from upright, radians, 0 to pi."""
    x, y = detection.eyes[1] - detection.eyes[0]
    return float(abs(np.arctan2(y, x)))


def are_one(first: Detection, second: Detection) -> bool:
    """Tell whether two detections are of one head: their centres lie within half of it."""
    apart = np.linalg.norm(first.box.reshape(2, 2).mean(axis=0) - second.box.reshape(2, 2).mean(0))
    return bool(apart < 0.5 * max(first.side, second.side))
