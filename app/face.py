"""Faces in a photo: the detector cascade, and the choice of one face."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.blazeface import FULL_RANGE, SHORT_RANGE, BlazeFace, Detection
from app.errors import NoFaceFound
from app.facemesh import (
    EYE_CORNERS,
    OUTLINE,
    FaceMesh,
    region_of_box,
    region_of_landmarks,
)
from app.onnx import OnnxNetwork
from models.manifest import Model

SHORT_SIZE, FULL_SIZE = 128, 384
THRESHOLD = 0.5
LOW_THRESHOLD = 0.3  # for the last look; only the mesh's verdict makes it usable
# The mesh's chin lies higher than the 68-point chin that upstream's crop rule was made for: by
# .0185 of the outline's height, against dlib's points on 595 photos; the brows agree to .003.
CHIN_DROP = 0.02
VERIFIED = 0.5  # mesh score: faces > .999, painted-out faces < .5 (docs/method.md)


@dataclass(frozen=True, slots=True)
class Face:
    """One face of an image, in its pixels, x before y.

    Attributes:
        score: 0..1, the landmark network's word that this is a face.
        eyes: `(2, 2)` float64: outer eye corners, the one at image left first.
        outline: `(N, 2)` float64: brows and jaw; their box decides the crop.
    """

    score: float
    eyes: NDArray[np.float64]
    outline: NDArray[np.float64]

    @property
    def box(self) -> NDArray[np.float64]:
        """`(4,)`: left, top, right, bottom of the outline."""
        return np.concatenate([self.outline.min(axis=0), self.outline.max(axis=0)])

    @property
    def area(self) -> float:
        """Area of `box`, px²: upstream's measure for the largest face."""
        left, top, right, bottom = self.box
        return float((right - left) * (bottom - top))


class FaceDetector:
    """The embedded detector: two BlazeFace networks, each candidate verified by FaceMesh."""

    def __init__(self, short: OnnxNetwork, full: OnnxNetwork, mesh: OnnxNetwork) -> None:
        self.networks = (short, full, mesh)
        self._short = BlazeFace(short, SHORT_SIZE, SHORT_RANGE)
        self._full = BlazeFace(full, FULL_SIZE, FULL_RANGE)
        self._mesh = FaceMesh(mesh)

    @property
    def models(self) -> list[Model]:
        """The models in use."""
        return [network.model for network in self.networks]

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find the faces of `image` `(H, W, 3)` uint8 RGB; empty if there is none.

        Close-ups first (128 px), then small faces (384 px), then close-ups with less certainty: the
        first look with a verified face decides.
        """
        for detections in self._looks(image):
            faces = [face for detection in detections if (face := self._verify(image, detection))]
            if faces:
                return faces
        return []

    def _looks(self, image: NDArray[np.uint8]) -> Iterator[list[Detection]]:
        certain, uncertain = self._short.detect(image, (THRESHOLD, LOW_THRESHOLD))
        yield certain
        yield self._full.detect(image, (THRESHOLD,))[0]
        yield uncertain

    def _verify(self, image: NDArray[np.uint8], detection: Detection) -> Face | None:
        region = region_of_box(detection.box, detection.keypoints[:2])
        points, score = self._mesh.predict(image, region)
        if score < VERIFIED:
            return None
        points, score = self._mesh.predict(image, region_of_landmarks(points))
        if score < VERIFIED:
            return None
        eyes = points[list(EYE_CORNERS)]
        return Face(score, eyes, lower_chin(points[list(OUTLINE)], eyes))


def lower_chin(outline: NDArray[np.float64], eyes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move the lowest point of `outline` down the face by `CHIN_DROP` of the outline's height."""
    along = (eyes[1] - eyes[0]) / np.linalg.norm(eyes[1] - eyes[0])
    down = np.array([-along[1], along[0]])
    heights = outline @ down
    lowered = outline.copy()
    lowered[heights.argmax()] += CHIN_DROP * (heights.max() - heights.min()) * down
    return lowered


def select_face(faces: list[Face]) -> Face:
    """Return the largest face.

    Raises:
        NoFaceFound: there is none.
    """
    if not faces:
        raise NoFaceFound
    return max(faces, key=lambda face: face.area)
