"""SCRFD and 2d106 through insightface's own classes, as finder and landmarks of `FaceDetector`.

Preprocessing, decoding, suppression and the landmarks' region are those of insightface 2.1 (MIT);
the sessions are ours, with our provider and threads. insightface's objects are set up once and only
read afterwards, so any thread may call them.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.pipeline.faces.blazeface import Detection, turn_back
from photo2cartoon.pipeline.faces.detector import Face
from photo2cartoon.pipeline.faces.pack import PackError, missing
from photo2cartoon.runtime.device import CPU, Device
from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon_models.manifest import Model

log = logging.getLogger("photo2cartoon.pipeline.faces.scrfd")

SIZES = ((128, 128), (640, 640))  # 640 alone misses close-ups, 9 % of portraits
LOWEST = 0.3
CERTAIN = 0.78  # 90 % of upright portraits score above it, 2 % of turned ones
UPRIGHT = 0.05  # by how much a turned head must score higher to be tried first
SAME_FACE = 0.4  # overlap above which two boxes are one face; insightface's own value
REGION_SCALE = 1.25  # less than for BlazeFace, because SCRFD's boxes include the forehead

BLACK = np.zeros((64, 64, 3), np.uint8)

# The 106 points by part, on which several programs agree. insightface itself names none of them, so
# nothing here depends on the number of a single point (docs/insightface.md). Left and right are
# those of the image.
CONTOUR = slice(0, 33)
LEFT_EYE, RIGHT_EYE = slice(33, 43), slice(87, 97)
LEFT_BROW, RIGHT_BROW = slice(43, 52), slice(97, 106)
EYES_APART = 0.15  # share of the eye corners' distance by which they may miss the mesh's
EDGES_APART = 0.15  # share of the outline's height by which its edges may miss the mesh's
ALARM = 10  # after how many faces with unused points the log says so


class ScrfdFinder:
    """Proposes faces by SCRFD, at both sizes with one suppression."""

    def __init__(self, model: Model, device: Device = CPU) -> None:
        """Load the model, hand it to insightface, and look at a black picture.

        Raises:
            PackError: insightface is not installed, or cannot use the model.
            ManifestError, StartRefused: as `OnnxNetwork`.
        """
        network = OnnxNetwork(model, device, loose=True)
        self.networks = (network,)
        self.region_scale = REGION_SCALE
        self._scrfd = _model_zoo().SCRFD(
            model_file=str(model.path),
            session=network.session,
            # CUDA prepares every convolution again when the size changes: one session per size.
            static_shape_sessions=device.on_gpu,
            resolution_session_factory=lambda *_: OnnxNetwork(model, device, loose=True).session,
        )
        self._scrfd.prepare(ctx_id=0, input_size=SIZES, det_thresh=LOWEST, nms_thresh=SAME_FACE)
        if model.inputs[0].image_size:
            log.warning("fixed_detector_size", extra={"fields": {"model": model.name}})
        _try(model, lambda: self._look(BLACK, 0))

    def find(
        self,
        image: NDArray[np.uint8],
        *,
        every: bool,  # noqa: ARG002 - it looks for small faces anyway
        sides: bool = False,
    ) -> list[Detection]:
        """See `pipeline.faces.detector.Finder`."""
        detections = self._look(image, 0)
        for turn in (1, 2, 3):
            if sides or not any(detection.score >= CERTAIN for detection in detections):
                detections += self._look(image, turn)
        return sorted(detections, key=lambda seen: UPRIGHT * (seen.turn > 0) - seen.score)

    def find_small(self, image: NDArray[np.uint8]) -> list[Detection]:  # noqa: ARG002
        """See `pipeline.faces.detector.Finder`. There are none: 640 px show small heads as well."""
        return []

    def _look(self, image: NDArray[np.uint8], turn: int) -> list[Detection]:
        if max(image.shape[:2]) > SIZES[0][0] * min(image.shape[:2]):
            return []  # insightface would shrink so thin an image to nothing: OpenCV refuses that
        turned = cv2.cvtColor(np.ascontiguousarray(np.rot90(image, turn)), cv2.COLOR_RGB2BGR)
        boxes, keypoints = self._scrfd.detect(turned)  # (K, 5): box and score; (K, 5, 2)
        detections = []
        for box, points in zip(boxes, keypoints, strict=True):
            both = np.concatenate([box[:4].reshape(2, 2), points]).astype(np.float32)
            both = turn_back(both, turn, (image.shape[1], image.shape[0]))
            corners = np.sort(both[:2], axis=0).reshape(4)  # a turn swaps the corners' roles
            detections.append(Detection(float(box[4]), corners, both[2:], turn))
        return detections


class Landmarks106:
    """Eye corners and outline from 2d106's points, if they fit the mesh's."""

    def __init__(self, model: Model, device: Device = CPU) -> None:
        """Load the model, hand it to insightface, and look at a black picture.

        Raises:
            PackError: insightface is not installed, or cannot use the model.
            ManifestError, StartRefused: as `OnnxNetwork`.
        """
        self.network = OnnxNetwork(model, device)
        self._model = _model_zoo().Landmark(
            model_file=str(model.path), session=self.network.session
        )
        self._lock = threading.Lock()
        self.asked = self.refused = 0
        _try(model, lambda: self.predict(BLACK, np.array([8, 8, 56, 56], np.float32)))

    def refine(self, image: NDArray[np.uint8], detection: Detection, face: Face) -> Face:
        """See `pipeline.faces.detector.Landmarks`.

        2d106 knows no turned heads and is poor on profiles: the mesh does better on both.
        """
        points = self.predict(image, detection.box)
        refined = read_points(points, face)
        fits = agree(refined, face)
        self._count(fits)
        return refined if fits else face

    def predict(self, image: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return `(106, 2)` points, px of `image` `(H, W, 3)` uint8 RGB, of the face in `box`."""
        face = _Boxed(box)
        points = self._model.get(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), face)
        return np.asarray(points, np.float64)

    def _count(self, fits: bool) -> None:
        """Log once that the points hardly ever fit: the model is not what it is taken for."""
        with self._lock:
            self.asked += 1
            self.refused += not fits
            say = not fits and self.refused == ALARM and 2 * self.refused > self.asked
        if say:
            fields = {"model": self.network.model.name, "asked": self.asked}
            log.warning("landmarks_do_not_fit", extra={"fields": {**fields, "refused": ALARM}})


class _Boxed(dict[str, Any]):
    """A face to insightface: a box to read, and a dictionary to write the landmarks to."""

    def __init__(self, box: NDArray[np.float32]) -> None:
        super().__init__()
        self.bbox = box


def read_points(points: NDArray[np.float64], like: Face) -> Face:
    """Make a face from 2d106's points `(106, 2)`: the outer eye corners, brows and contour.

    The features stay those of `like`: fewer of 2d106's points lie on the lids.

    The corner of an eye is its point furthest out along the eye line of `like`, whatever number
    that point has.
    """
    along = like.eyes[1] - like.eyes[0]
    left, right = points[LEFT_EYE], points[RIGHT_EYE]
    eyes = np.stack([left[(left @ along).argmin()], right[(right @ along).argmax()]])
    outline = np.concatenate([points[LEFT_BROW], points[RIGHT_BROW], points[CONTOUR]])
    return Face(like.score, eyes, outline, like.features)


def agree(face: Face, mesh: Face) -> bool:
    """Tell whether the eye corners and the edges of the outlines of both lie about together."""
    along = mesh.eyes[1] - mesh.eyes[0]
    distance = np.linalg.norm(along)
    apart = np.linalg.norm(face.eyes - mesh.eyes, axis=1).max()
    x, y = along / distance
    level = np.array([[x, -y], [y, x]])  # image px to a frame in which the eyes are level
    edges = [_edges(outline @ level) for outline in (face.outline, mesh.outline)]
    height = edges[1][1, 1] - edges[1][0, 1]
    return bool(
        apart < EYES_APART * distance and np.abs(edges[0] - edges[1]).max() < EDGES_APART * height
    )


def _edges(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `(2, 2)`: left and top, right and bottom."""
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _try(model: Model, look: Callable[[], object]) -> None:
    """Run what insightface does with a model once, at the start rather than at the first photo."""
    try:
        look()
    except Exception as error:
        what = f"insightface cannot use {model.path}: {type(error).__name__}: {error}"
        raise PackError(what.partition("\n")[0]) from error


def _model_zoo() -> Any:
    try:
        from insightface import model_zoo  # noqa: PLC0415 - heavy, and only this finder needs it
    except ModuleNotFoundError as error:
        raise PackError(missing(error)) from error
    return model_zoo
