"""Faces in a photo: a finder proposes, the mesh verifies, and the caller's choice selects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.errors import NoFaceFound, NoSuchFace
from photo2cartoon.pipeline.faces.blazeface import Detection
from photo2cartoon.pipeline.faces.facemesh import (
    EYE_CORNERS,
    FEATURES,
    OUTLINE,
    FaceMesh,
    region_of_box,
    region_of_landmarks,
)
from photo2cartoon.pipeline.faces.upright import (
    TURNED,
    agree,
    heed_gravity,
    is_plausible,
    is_squeezed,
    tilt,
)
from photo2cartoon.runtime.network import Network

CLEARLY = 0.001  # by how much a mesh score must be better; a head seen upright has .9997 and more
# The mesh's chin lies higher than the 68-point chin that upstream's crop rule was made for, by this
# share of the outline's height (`python -m benchmarks.landmarks`, 611 photos); the brows agree.
CHIN_DROP = 0.02


@dataclass(frozen=True, slots=True)
class Rule:
    """What a detection must score to be a face.

    Attributes:
        detection: smallest score of the detector, 0..1.
        mesh: smallest score of the landmark network, 0..1.
        both: whether both of the mesh's looks must reach that, or only the better one.
    """

    detection: float
    mesh: float
    both: bool


# Whole faces are detected with .75 and more, on their side too. Below that lie faces that the photo
# cuts, and what only looks like one: only those count of which the mesh is certain.
CLEAR = 0.75
PROOF = 0.999

# Faces score above .95 in both looks of the mesh, nearly everything else below .5 in one of them;
# heads in hard light and with large beards lie between, but there the detector is fairly sure.
STRICT = Rule(detection=0.5, mesh=0.9, both=True)
STRICT_FAINT = Rule(detection=0.3, mesh=0.9, both=True)
LENIENT = Rule(detection=CLEAR, mesh=0.5, both=False)


@dataclass(frozen=True, slots=True)
class Face:
    """One face of an image, in its pixels, x before y.

    Attributes:
        score: 0..1, how sure the landmark network is that this is a face.
        eyes: `(2, 2)` float64: outer eye corners, the one at image left first.
        outline: `(N, 2)` float64: brows and jaw; their box decides the crop.
        features: `(33, 2)` float64: contours of both eyes and the middle of the mouth, by
            `facemesh.FEATURES`; None if unknown.
    """

    score: float
    eyes: NDArray[np.float64]
    outline: NDArray[np.float64]
    features: NDArray[np.float64] | None = None

    def scaled(self, factor: NDArray[np.float64]) -> "Face":
        """Return the same face in the image at another size; `factor` `(2,)`, x before y."""
        centre = 0.5 * (factor - 1)  # pixel centres at whole numbers
        eyes, outline = self.eyes * factor + centre, self.outline * factor + centre
        features = None if self.features is None else self.features * factor + centre
        return Face(self.score, eyes, outline, features)

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
        """Area of `box`, px²: upstream's measure of which face is the largest."""
        left, top, right, bottom = self.box
        return float((right - left) * (bottom - top))


class Finder(Protocol):
    """Proposes faces: `BlazeFaceCascade`, or InsightFace's SCRFD (`pipeline.faces.scrfd`)."""

    @property
    def networks(self) -> Sequence[Network]:
        """The networks that it runs."""

    @property
    def region_scale(self) -> float:
        """Side of the mesh's region over the longer side of this finder's boxes."""

    def find(
        self, image: NDArray[np.uint8], *, every: bool, sides: bool = False
    ) -> list[Detection]:
        """Propose faces of `image` `(H, W, 3)` uint8 RGB, best score first; any thread may call it.

        Args:
            image: the image.
            every: look for small faces beside large ones too.
            sides: look at it from its other three sides too, even if a detection is certain.
        """

    def find_small(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Propose heads that are too small for `find`, unless it was told to look for `every` one.

        Args:
            image: `(H, W, 3)` uint8 RGB.

        Returns:
            In no particular order; empty where a closer look would show nothing new.
        """


class Landmarks(Protocol):
    """Gives a second opinion on where a verified face's eye corners and outline are."""

    @property
    def network(self) -> Network:
        """The network that it runs."""

    def refine(self, image: NDArray[np.uint8], detection: Detection, face: Face) -> Face:
        """Return the face with landmarks of its own, or `face` if they do not fit it."""


class FaceDetector:
    """A finder whose every detection is verified by FaceMesh, which also gives the landmarks."""

    def __init__(self, finder: Finder, mesh: Network, landmarks: Landmarks | None = None) -> None:
        self.mesh = FaceMesh(mesh)
        self.landmarks = landmarks
        self.finder = finder

    @property
    def networks(self) -> list[Network]:
        """All networks that it runs."""
        third = [self.landmarks.network] if self.landmarks else []
        return [*self.finder.networks, self.mesh.network, *third]

    def detect(self, image: NDArray[np.uint8], *, every: bool = False) -> list[Face]:
        """Find the faces of `image` `(H, W, 3)` uint8 RGB, largest first; empty if there is none.

        Every look adds detections; the best are verified first. A head tilted by more than about 60
        degrees is still detected, but with a low score, and its landmarks would come out wrong,
        with a good score. Finders therefore look at the image from its other sides too as long as
        no score is high.

        Args:
            image: the image.
            every: look for small faces beside large ones too, as group photos need.
        """
        found = self._start(image)
        detections = heed_gravity(self.finder.find(image, every=every))
        found.add(detections, STRICT_FAINT if every else STRICT)
        if not found.faces:
            found.add(detections, STRICT_FAINT)
        if not found.faces:
            found = self._start(_lift_shadows(image))
            lifted = self.finder.find(found.image, every=every, sides=True)
            found.add(heed_gravity(lifted), STRICT)
        if not found.faces:
            found = self._start(image)
            found.add([seen for seen in detections if tilt(seen) < TURNED], LENIENT)
        if not found.faces and not every:
            found.add(self.finder.find_small(image), STRICT)
        return sorted(found.faces, key=lambda face: -face.area)

    def _start(self, image: NDArray[np.uint8]) -> "_Found":
        return _Found(self.mesh, image, self.finder.region_scale, self.landmarks)


class _Found:
    """The faces of one image that have been verified so far, each once."""

    def __init__(
        self,
        mesh: FaceMesh,
        image: NDArray[np.uint8],
        region_scale: float,
        landmarks: Landmarks | None,
    ) -> None:
        self.mesh = mesh
        self.image = image
        self.region_scale = region_scale
        self.landmarks = landmarks
        self._found: list[tuple[Face, int]] = []  # with the turn at which it was found

    @property
    def faces(self) -> list[Face]:
        return [face for face, _ in self._found]

    def add(self, detections: list[Detection], rule: Rule) -> None:
        """Verify detections, best first, and keep those that are faces and not yet among them.

        Between two looks at one face from different sides, a clearly better score of the mesh
        decides if both of its looks count: in hard light the detector may prefer the wrong side.
        """
        for detection in detections:
            place, turn = self._place_of(detection.eyes, detection.side)
            if detection.score < rule.detection or turn == detection.turn:
                continue  # too weak, or another look at a face that is already verified
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
        """Return index and turn of the face with these eyes `(2, 2)`: within half a face."""
        for place, (face, turn) in enumerate(self._found):
            apart = np.linalg.norm(eyes.mean(axis=0) - face.eyes.mean(axis=0))
            if apart < 0.5 * max(side, face.side):
                return place, turn
        return None, None

    def _verify(self, detection: Detection, rule: Rule) -> Face | None:
        """Look twice: in the detection's region, then in that of the first look's landmarks."""
        region = region_of_box(detection.box, detection.eyes, self.region_scale)
        first = self.mesh.predict(self.image, region)
        if rule.both and first[1] < rule.mesh:
            return None
        second = self.mesh.predict(self.image, region_of_landmarks(first[0]))
        if rule.both:
            points, score = second[0], min(first[1], second[1])
        else:
            points, score = max(first, second, key=lambda look: look[1])
        if score < rule.mesh or not self._is_upright(detection, points, score):
            return None
        eyes = points[list(EYE_CORNERS)]
        outline = lower_chin(points[list(OUTLINE)], eyes)
        face = Face(score, eyes, outline, points[list(FEATURES)])
        return self.landmarks.refine(self.image, detection, face) if self.landmarks else face

    def _is_upright(self, detection: Detection, points: NDArray[np.float64], score: float) -> bool:
        """Tell whether the landmarks are those of a face, which the mirror must prove if in doubt.

        Args:
            detection: where the landmarks come from.
            points: landmarks `(468, 2)`, px of the image.
            score: of the landmarks, 0..1.
        """
        size = self.image.shape[1], self.image.shape[0]
        if not is_plausible(points, size):
            return False
        if detection.score >= CLEAR:
            return True
        if score < PROOF or is_squeezed(points, size):
            return False
        region = replace(region_of_landmarks(points), mirrored=True)
        mirrored, mirrored_score = self.mesh.predict(self.image, region)
        return mirrored_score >= PROOF and agree(points, mirrored)


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
