"""Faces in a photo: the detector cascade, and the choice of one face."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from app.blazeface import FULL_RANGE, SHORT_RANGE, BlazeFace, Detection
from app.errors import NoFaceFound, NoSuchFace
from app.facemesh import (
    EYE_CORNERS,
    OUTLINE,
    FaceMesh,
    region_of_box,
    region_of_landmarks,
)
from app.onnx import OnnxNetwork

SHORT_SIZE, FULL_SIZE = 128, 384
CERTAIN = 0.85  # upright heads score above it, heads on their side or head hardly ever
CLEARLY = 0.001  # better by the mesh's score; the right side has .9997 and more
LARGE = 0.15  # of the long side: the short-range network misses no face of this size
# The mesh's chin lies that much of the outline's height higher than the 68-point chin that
# upstream's crop rule was made for (`python -m benchmarks.landmarks`, 611 photos); the brows agree.
CHIN_DROP = 0.02


@dataclass(frozen=True, slots=True)
class Rule:
    """What a detection must score to be a face.

    Attributes:
        detection: smallest score of the detector, 0..1.
        mesh: smallest score of the landmark network, 0..1.
        both: whether both of its looks must reach that, or the better one.
    """

    detection: float
    mesh: float
    both: bool


# Faces score above .95 in both looks of the mesh, nearly everything else below .5 in one of them;
# heads in hard light and with large beards lie between, but then the detector is fairly sure.
STRICT = Rule(detection=0.5, mesh=0.9, both=True)
STRICT_FAINT = Rule(detection=0.3, mesh=0.9, both=True)
LENIENT = Rule(detection=0.7, mesh=0.5, both=False)


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

    def scaled(self, factor: NDArray[np.float64]) -> "Face":
        """The same face in the image at another size; `factor` `(2,)`, x before y."""
        centre = 0.5 * (factor - 1)  # pixel centres at whole numbers
        return Face(self.score, self.eyes * factor + centre, self.outline * factor + centre)

    @property
    def box(self) -> NDArray[np.float64]:
        """`(4,)`: left, top, right, bottom of the outline."""
        return np.concatenate([self.outline.min(axis=0), self.outline.max(axis=0)])

    @property
    def side(self) -> float:
        """Longer side of `box`, px."""
        return float((self.box[2:] - self.box[:2]).max())

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

    def detect(self, image: NDArray[np.uint8], *, every: bool = False) -> list[Face]:
        """Find the faces of `image` `(H, W, 3)` uint8 RGB, largest first; empty if there is none.

        Every look adds detections; the best are verified first. A head more than about 60 degrees
        off is still detected, with a low score, and its landmarks would come out wrong, with a good
        one: so while no score is high, the image is looked at from its other sides too.

        Args:
            image: the image.
            every: look for small faces beside large ones too, as a group photo needs.
        """
        found = _Found(self._mesh, image)
        detections = self._look(image, every=every)
        found.add(detections, STRICT_FAINT if every else STRICT)
        if not found.faces:
            found.add(detections, STRICT_FAINT)
        if not found.faces:
            found = _Found(self._mesh, _lift_shadows(image))
            found.add(self._look(found.image, every=every), STRICT)
        if not found.faces:
            found = _Found(self._mesh, image)
            found.add(detections, LENIENT)
        return sorted(found.faces, key=lambda face: -face.area)

    def _look(self, image: NDArray[np.uint8], *, every: bool) -> list[Detection]:
        """Detections, best first: close-ups (128 px), small faces (384 px), both on their sides."""
        image, factor = _shrink(image)
        detections = self._short.scan(image)[0].above(STRICT_FAINT.detection)
        sides = [detection.side for detection in detections if detection.score >= STRICT.detection]
        if every or not _is_certain(detections) or max(sides) < LARGE * max(image.shape[:2]):
            detections += self._full.scan(image)[0].above(STRICT_FAINT.detection)
        # The large network one side at a time: a batch of three would keep 100 MB for ever.
        sides_left = ((self._short, (1, 2, 3)), *((self._full, (turn,)) for turn in (1, 2, 3)))
        for network, turns in sides_left:
            if not _is_certain(detections):
                for candidates in network.scan(image, turns):
                    detections += candidates.above(STRICT_FAINT.detection)
        best_first = sorted(detections, key=lambda detection: -detection.score)
        return [detection.scaled(factor) for detection in best_first]


def _shrink(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Halve a large image until it is just larger than any detector's input; the factor it took.

    Once, and by two, because averaging all of a photo anew for every look would cost more than the
    looks themselves.
    """
    factor = 1
    while max(image.shape[:2]) >= 4 * FULL_SIZE and min(image.shape[:2]) > 1:
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        half = cv2.resize(
            image[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA
        )
        image, factor = half.astype(np.uint8, copy=False), factor * 2
    return image, float(factor)


def _is_certain(detections: list[Detection]) -> bool:
    return any(detection.score >= CERTAIN for detection in detections)


class _Found:
    """The verified faces of one image so far, each once."""

    def __init__(self, mesh: FaceMesh, image: NDArray[np.uint8]) -> None:
        self.mesh = mesh
        self.image = image
        self._found: list[tuple[Face, int]] = []  # with the turn it was found at

    @property
    def faces(self) -> list[Face]:
        return [face for face, _ in self._found]

    def add(self, detections: list[Detection], rule: Rule) -> None:
        """Verify detections, best first, and keep those that are faces and not here yet.

        Of two looks at one face from different sides the mesh's clearly better score decides, where
        both its looks count: in hard light the detector may prefer the wrong side.
        """
        for detection in detections:
            place, turn = self._place_of(detection.eyes, detection.side)
            if detection.score < rule.detection or turn == detection.turn:
                continue  # too weak, or one more look at a face that is verified already
            face = self._verify(detection, rule)
            if face is None:
                continue
            if place is None:
                place, turn = self._place_of(face.eyes, face.side)
            if place is None:
                self._found.append((face, detection.turn))
            elif rule.both and face.score > self._found[place][0].score + CLEARLY:
                self._found[place] = face, detection.turn

    def _place_of(
        self, eyes: NDArray[np.floating], side: float
    ) -> tuple[int, int] | tuple[None, None]:
        """Index and turn of the face with these eyes `(2, 2)`: one closer than half a face."""
        for place, (face, turn) in enumerate(self._found):
            apart = np.linalg.norm(eyes.mean(axis=0) - face.eyes.mean(axis=0))
            if apart < 0.5 * max(side, face.side):
                return place, turn
        return None, None

    def _verify(self, detection: Detection, rule: Rule) -> Face | None:
        """Look twice: in the detection's region, then in that of the first look's landmarks."""
        first = self.mesh.predict(self.image, region_of_box(detection.box, detection.eyes))
        if rule.both and first[1] < rule.mesh:
            return None
        second = self.mesh.predict(self.image, region_of_landmarks(first[0]))
        if rule.both:
            points, score = second[0], min(first[1], second[1])
        else:
            points, score = max(first, second, key=lambda look: look[1])
        if score < rule.mesh:
            return None
        eyes = points[list(EYE_CORNERS)]
        return Face(score, eyes, lower_chin(points[list(OUTLINE)], eyes))


def _lift_shadows(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brighten dark tones (gamma .5): FaceMesh turns down faces that lie mostly in shadow."""
    levels = np.sqrt(np.arange(256) / 255) * 255
    return cv2.LUT(image, levels.round().astype(np.uint8)).astype(np.uint8, copy=False)


def lower_chin(outline: NDArray[np.float64], eyes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move the lowest point of `outline` down the face by `CHIN_DROP` of the outline's height."""
    along = (eyes[1] - eyes[0]) / np.linalg.norm(eyes[1] - eyes[0])
    down = np.array([-along[1], along[0]])
    heights = outline @ down
    lowered = outline.copy()
    lowered[heights.argmax()] += CHIN_DROP * (heights.max() - heights.min()) * down
    return lowered


def select_faces(faces: list[Face], choice: Literal["largest", "all"] | int) -> list[Face]:
    """Choose among the faces of one image.

    Args:
        faces: all of them, in any order.
        choice: the largest, all from left to right, or one by its place in that order, from 0.

    Raises:
        NoFaceFound: there is none.
        NoSuchFace: there are fewer.
    """
    if not faces:
        raise NoFaceFound
    if choice == "largest":
        return [max(faces, key=lambda face: face.area)]
    from_left = sorted(faces, key=lambda face: float(face.eyes[:, 0].mean()))
    if choice == "all":
        return from_left
    if choice >= len(faces):
        raise NoSuchFace
    return [from_left[choice]]
