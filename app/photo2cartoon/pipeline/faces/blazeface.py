"""BlazeFace: boxes and six keypoints of every face, from MediaPipe's detector networks.

`BlazeFaceCascade` asks both networks; it is the embedded finder (`pipeline.faces.detector`).
Anchors, regressors, score clipping and weighted non-maximum suppression follow MediaPipe
(Apache-2.0) 0.10.21; checked against it on 586 portraits (docs/method.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.pipeline.faces.tiles import are_inside, lay_tiles
from photo2cartoon.runtime.network import Network

# (stride in pixels, anchors per cell) of the two networks; any input size works with them.
SHORT_RANGE = ((8, 2), (16, 6))
FULL_RANGE = ((4, 1),)
LOGIT_LIMIT = 100.0
SUPPRESSION_IOU = 0.3
LOWEST = 0.3  # candidates with a lower score are dropped at once
FIRM = 0.5
CERTAIN = 0.85  # upright heads score above it; heads on their side or upside down hardly ever do

SHORT_SIZE, FULL_SIZE = 128, 384
LARGE = 0.15  # share of the long side; the short-range network misses no face this large


@dataclass(frozen=True, slots=True)
class Detection:
    """One face candidate, in pixels of the image it was found in.

    Attributes:
        score: 0..1.
        box: `(4,)` float32: left, top, right, bottom.
        keypoints: `(K, 2)` float32: eye at image left, eye at image right, nose tip, then
            BlazeFace's mouth centre, tragion at image left and at image right, or SCRFD's two mouth
            corners.
        turn: quarter turns, counter-clockwise, after which it was found.
    """

    score: float
    box: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    turn: int = 0

    @property
    def eyes(self) -> NDArray[np.float32]:
        """`(2, 2)`: centres of the eyes, the one at image left first."""
        return self.keypoints[:2]

    def scaled(self, factor: float) -> "Detection":
        """Return the same detection in the image at another size."""
        by = np.float32(factor)
        return Detection(self.score, self.box * by, self.keypoints * by, self.turn)

    @property
    def side(self) -> float:
        """Longer side of `box`, px."""
        return float((self.box[2:] - self.box[:2]).max())


@dataclass(frozen=True, slots=True)
class Candidates:
    """Everything that one look found, before overlapping candidates are merged.

    Attributes:
        scores: `(K,)`, `LOWEST`..1.
        points: `(K, 8, 2)`: two box corners and six keypoints, in image pixels.
        turn: quarter turns, counter-clockwise, after which they were found.
    """

    scores: NDArray[np.float64]
    points: NDArray[np.float32]
    turn: int = 0

    def above(self, threshold: float) -> list[Detection]:
        """Merge the candidates that score `threshold` or more; return them best score first."""
        kept = self.scores >= threshold
        merged = weighted_suppression(self.scores[kept], self.points[kept])
        return [replace(detection, turn=self.turn) for detection in merged]


class BlazeFace:
    """One detector network at one square input size."""

    def __init__(
        self, network: Network, size: int, anchor_layout: Sequence[tuple[int, int]]
    ) -> None:
        self.network = network
        self.size = size
        self._anchors = _anchor_centres(size, anchor_layout)

    def scan(self, image: NDArray[np.uint8], turns: Sequence[int] = (0,)) -> list[Candidates]:
        """Look for faces in `image` `(H, W, 3)` uint8 RGB; one set of candidates per turn.

        Args:
            image: the image.
            turns: quarter turns, counter-clockwise, after which to look, all in one batch, because
                the networks were made for upright heads. Candidates are in pixels of the image as
                given.
        """
        canvas, scale, offset = letterbox(image, self.size)
        batch = np.stack([np.rot90(canvas, turn) for turn in turns]).transpose(0, 3, 1, 2)
        tensor = batch.astype(np.float32) / np.float32(127.5) - 1
        raw, logits = self.network.run(np.ascontiguousarray(tensor))
        clipped = np.clip(logits[:, :, 0].astype(np.float64), -LOGIT_LIMIT, LOGIT_LIMIT)
        scores = 1 / (1 + np.exp(-clipped))  # (turns, A)
        return [
            self._candidates(scores[k], raw[k], turn, scale, offset) for k, turn in enumerate(turns)
        ]

    def _candidates(
        self,
        scores: NDArray[np.float64],  # (A,)
        raw: NDArray[np.float32],  # (A, 16): x, y, w, h, then six keypoints, in input pixels
        turn: int,
        scale: NDArray[np.float32],
        offset: NDArray[np.float32],
    ) -> Candidates:
        kept = scores >= LOWEST
        anchors, raw = self._anchors[kept], raw[kept]
        centre, half = raw[:, :2] + anchors, raw[:, 2:4] / 2
        corners = np.stack([centre - half, centre + half], axis=1)  # (K, 2, 2)
        keypoints = raw[:, 4:].reshape(-1, 6, 2) + anchors[:, None]
        points = np.concatenate([corners, keypoints], axis=1)  # (K, 8, 2)
        points = (turn_back(points, turn, (self.size, self.size)) - offset) / scale
        points[:, :2] = np.sort(points[:, :2], axis=1)  # a turn swaps the corners' roles
        return Candidates(scores[kept], points, turn)


def turn_back(points: NDArray[np.float32], turn: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Undo `turn` quarter turns counter-clockwise of an image of `size`, width and height.

    Args:
        points: `(..., 2)` px of the turned image, x right, y down.
        turn: 0 to 3, as `np.rot90` counts.
        size: of the image before it was turned.
    """
    for step in range(turn, 0, -1):
        width = size[(step - 1) % 2]  # of the image that this step turned
        points = np.stack([width - points[..., 1], points[..., 0]], axis=-1)
    return points


class BlazeFaceCascade:
    """The embedded finder: close-ups at 128 px, small faces at 384 px, small heads in tiles.

    It looks at the picture upright and, while nothing is certain, from its other sides.
    """

    def __init__(self, short: Network, full: Network) -> None:
        self.networks = (short, full)
        self.region_scale = 1.5  # MediaPipe's
        self.short = BlazeFace(short, SHORT_SIZE, SHORT_RANGE)
        self.full = BlazeFace(full, FULL_SIZE, FULL_RANGE)

    def find(
        self, image: NDArray[np.uint8], *, every: bool, sides: bool = False
    ) -> list[Detection]:
        """See `Finder`. Every look adds detections, until one is certain."""
        small, factor = _shrink(image)
        detections = self.short.scan(small)[0].above(LOWEST)
        sizes = [detection.side for detection in detections if detection.score >= FIRM]
        if every or not is_certain(detections) or max(sizes) < LARGE * max(small.shape[:2]):
            detections += self.full.scan(small)[0].above(LOWEST)
        # The large network takes one side at a time: a batch of three would hold 100 MB for good.
        looks_left = ((self.short, (1, 2, 3)), *((self.full, (turn,)) for turn in (1, 2, 3)))
        for network, turns in looks_left:
            if sides or not is_certain(detections):
                for candidates in network.scan(small, turns):
                    detections += candidates.above(LOWEST)
        detections = [detection.scaled(factor) for detection in detections]
        if every:
            detections += self.find_small(image)
        return sorted(detections, key=lambda detection: -detection.score)

    def find_small(self, image: NDArray[np.uint8]) -> list[Detection]:
        """See `Finder`. The full-range network looks at tiles, and heads are merged across them."""
        size = image.shape[1], image.shape[0]
        scores, points = [np.zeros(0)], [np.zeros((0, 8, 2), np.float32)]
        for tile in lay_tiles(*size, FULL_SIZE):
            left, top, side = tile
            (seen,) = self.full.scan(image[top : top + side, left : left + side])
            placed = seen.points + np.array([left, top], np.float32)
            whole = are_inside(placed[:, :2], tile, size)
            scores.append(seen.scores[whole])
            points.append(placed[whole])
        return Candidates(np.concatenate(scores), np.concatenate(points)).above(LOWEST)


def is_certain(detections: list[Detection]) -> bool:
    """Tell whether a face is certainly upright, so that no other side needs a look."""
    return any(detection.score >= CERTAIN for detection in detections)


def _shrink(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Halve a large image until it is just larger than any detector's input.

    This is done once, since averaging the whole photo for every look would cost more than the
    looks themselves.

    Returns:
        The smaller image, and by which factor it is smaller.
    """
    factor = 1
    while max(image.shape[:2]) >= 4 * FULL_SIZE and min(image.shape[:2]) > 1:
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        half = cv2.resize(
            image[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA
        )
        image, factor = half.astype(np.uint8, copy=False), factor * 2
    return image, float(factor)


def letterbox(
    image: NDArray[np.uint8], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Fit `image` into a black square, centred, keeping its proportions.

    Returns:
        The square `(size, size, 3)` uint8; scale `(2,)` and offset `(2,)`, x before y, so that
        `square = image * scale + offset`.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    canvas = np.zeros((size, size, 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return (
        canvas,
        np.array([inner[0] / width, inner[1] / height], np.float32),
        np.array([left, top], np.float32),
    )


def weighted_suppression(
    scores: NDArray[np.float64], points: NDArray[np.float32]
) -> list[Detection]:
    """Merge overlapping candidates: each cluster's score-weighted mean, with its best score.

    Args:
        scores: `(K,)`.
        points: `(K, 8, 2)`: two box corners, six keypoints.
    """
    order = np.argsort(-scores, kind="stable")
    scores, points = scores[order], points[order]
    alive = np.ones(len(scores), bool)
    detections = []
    for best in range(len(scores)):
        if not alive[best]:
            continue
        cluster = alive & (_iou(points[best, :2], points[:, :2]) > SUPPRESSION_IOU)
        cluster[best] = True  # a degenerate box does not even overlap itself
        alive &= ~cluster
        weights = scores[cluster] / scores[cluster].sum()
        mean = np.tensordot(weights, points[cluster], axes=1).astype(np.float32)  # (8, 2)
        detections.append(Detection(float(scores[best]), mean[:2].reshape(4), mean[2:]))
    return detections


def _iou(corner: NDArray[np.float32], corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box `(2, 2)` with many `(K, 2, 2)`: `(K,)`."""
    top_left = np.maximum(corner[0], corners[:, 0])
    bottom_right = np.minimum(corner[1], corners[:, 1])
    intersection = np.clip(bottom_right - top_left, 0, None).prod(axis=1)
    union = (corner[1] - corner[0]).prod() + (corners[:, 1] - corners[:, 0]).prod(axis=1)
    overlap: NDArray[np.float32] = intersection / (union - intersection + np.float32(1e-9))
    return overlap


def _anchor_centres(size: int, layout: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Return the centres `(A, 2)`, input px, in the networks' order: rows, columns, per cell."""
    grids = []
    for stride, per_cell in layout:
        cells = -(-size // stride)
        y, x = np.mgrid[0:cells, 0:cells]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        grids.append(np.repeat(centres, per_cell, axis=0))
    return np.concatenate(grids).astype(np.float32)
