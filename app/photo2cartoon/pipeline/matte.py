"""The matte: how much of each pixel is the person, and where the person's drawing ends.

Sources: Vincent: Morphological Grayscale Reconstruction in Image Analysis (IEEE Transactions on
Image Processing, 1993). The constants were chosen by eye on portraits (docs/method.md).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.alignment import Alignment, Crop, cut_square
from photo2cartoon.pipeline.colours import ArrayCalculus, Calculus, Plane
from photo2cartoon.runtime.network import Network

EMBEDDED_SIZE = 256  # px; the embedded network takes any size and works best at this one

CELLS = 64  # the square, in cells, on which the matte is followed from the face outwards
STEP, STEPS = 2, 20  # cells; further than any corner is from the face, bends included
ATTACHED = 0.45, 0.85  # weakest matte on the way to the face that means "not at all" and "surely"
HAIR = 2  # cells around what surely is the person in which the matte keeps every value
FACE = np.zeros((CELLS, CELLS), np.float32)  # where a face is in every aligned square
FACE[27:52, 23:41] = 1

# All in shares of the square's side. Beyond the photo's border the drawing goes on in full for the
# first length and is gone after the second: at the square's top and at its bottom.
FADE_TOP, FADE_BOTTOM = (0.0, 0.09), (0.05, 0.17)
TOP, BOTTOM = 0.75, 1.0  # heights in the square: the head above, the shoulders towards the bottom
TAPER = 2.0  # how far a head narrows on either side for each pixel beyond the border
RISE, ROUND = 0.35, 0.6  # of a crown: its height by half its width, the exponent of its curve
SOFT, SOFT_CROWN = 0.025, 0.008


def predict_matte(
    network: Network,
    image: NDArray[np.uint8],
    alignment: Alignment,
    crop: Crop,
    ticket: Ticket | None = None,
) -> NDArray[np.float32]:
    """Estimate the person's matte in an aligned crop.

    The network's contract in the manifest decides what it is fed (size, layout, range, the mirror
    image as well or not) and what its answer means (the channel, and the values that stand for
    background and person).

    Args:
        network: the matte network.
        image: the photo, `(H, W, 3)` uint8 RGB.
        alignment: where the square lies in it.
        crop: that square at the generator's size, `(S, S)`.
        ticket: of the request, for a network that several threads share.

    Returns:
        `(S, S)` float32, 0 (background) .. 1 (person). Outside the photo it goes on as the
        photo's border does, so that a generator finds no edge there (`fade_out`).
    """
    source = network.model.inputs[0]
    size = source.image_size or EMBEDDED_SIZE
    fits = crop.pixels.shape[0] == size
    seen = crop.pixels if fits else cut_square(image, alignment, size)
    low, high = source.range
    values = seen.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
    matte = _run(network, values, ticket)
    if network.model.views == "mirrored":
        mirrored = _run(network, values[:, ::-1], ticket)
        matte = (matte + mirrored[:, ::-1]) / np.float32(2)
    if matte.shape != crop.border.shape:
        resized = cv2.resize(matte, crop.border.shape[::-1], interpolation=cv2.INTER_AREA)
        matte = np.asarray(resized, np.float32)
    return np.asarray(keep_attached(ArrayCalculus(len(matte), CELLS), matte), np.float32)


def _run(
    network: Network, values: NDArray[np.float32], ticket: Ticket | None
) -> NDArray[np.float32]:
    """Run the network on `(S, S, 3)` float32 in its own range; return the matte, `(S, S)`, 0..1."""
    source, target = network.model.inputs[0], network.model.outputs[0]
    tensor = values if source.layout == "NHWC" else values.transpose(2, 0, 1)
    answer = network.run(np.ascontiguousarray(tensor[None]), ticket)[0][0]
    mask = answer[..., target.channel] if target.layout == "NHWC" else answer[target.channel]
    low, high = target.range
    return np.asarray(np.clip((mask - np.float32(low)) / np.float32(high - low), 0, 1), np.float32)


def keep_attached(calculus: Calculus, matte: Plane) -> Plane:
    """Remove from a matte what does not hang on to the face: islands and veils of background.

    A grayscale reconstruction from the face finds, for each cell, the weakest matte on the best way
    to the face. Hair surely is the person all along that way; an island has a gap before it, and a
    veil is weak throughout. Around what is attached, the soft edge of hair stays as it is.

    The formulas stand here once, for the CPU and for the fused graph, as in `pipeline.colours`.

    Args:
        calculus: for pictures of the matte's size, which shrink to `CELLS`.
        matte: `(S, S)`, 0..1.

    Returns:
        The same, or less.
    """
    weakest = calculus.constant(FACE)
    cells = calculus.clip(calculus.shrink(matte) + weakest, 0, 1)  # the face is the person
    for _ in range(STEPS):
        weakest = calculus.least(calculus.dilate(STEP, weakest), cells)
    low, high = ATTACHED
    attached = calculus.clip((weakest - low) * (1 / (high - low)), 0, 1)
    (kept,) = calculus.means(1, calculus.dilate(HAIR, attached))
    return matte * calculus.enlarge(kept)


def fade_out(matte: NDArray[np.float32], crop: Crop) -> NDArray[np.float32]:
    """End a matte softly where the photo ends.

    Beyond the border the person goes on for a little: shoulders down to the square's bottom, a head
    by a cap that narrows, as heads do, and a crown at the top. Inside the photo nothing changes.

    Args:
        matte: `(S, S)` float32, 0..1.
        crop: the square that it belongs to.

    Returns:
        `(S, S)` float32, 0..1.
    """
    if crop.border.min() >= 0:
        return matte
    size = len(matte)
    beyond = np.maximum(-crop.border, np.float32(0)) * np.float32(1 / size)
    height = (np.arange(size, dtype=np.float32)[:, None] + np.float32(0.5)) / np.float32(size)
    low = _smoothstep(height, TOP, BOTTOM)  # 0 at the head, 1 at the shoulders
    full, gone = ((1 - low) * a + low * b for a, b in zip(FADE_TOP, FADE_BOTTOM, strict=True))
    person = cv2.copyMakeBorder(np.asarray(matte > 0.5, np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    width = cv2.distanceTransform(person, cv2.DIST_L2, 3)[1:-1, 1:-1] * np.float32(1 / size)
    cap = ((width - TAPER * (1 - low) * beyond) * (1 / SOFT) + 1).clip(0, 1)
    crown = _crown(matte, crop.border)
    cap[: len(crown)] *= np.maximum(low[: len(crown)], crown)
    return np.asarray(matte * cap * (1 - _smoothstep(beyond, full, gone)), np.float32)


def _crown(matte: NDArray[np.float32], border: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much may be shown above the photo, 0..1: a dome over each part of a head that it cuts.

    What is seen there is the photo's mirror image, in which a head that the border hardly touches
    would become wider again.

    Returns:
        `(T, S)`: the upper rows of the square; 1 within the photo.
    """
    size = len(matte)
    # The photo's first row in each column; 0 where it has none above.
    first = (border >= 0).argmax(axis=0).astype(np.float32)
    column = np.arange(size)
    cut = (first > 0) & (np.abs(np.gradient(first)) < 1)
    head = matte[first.astype(int), column] > 0.5
    rise = np.zeros(size, np.float32)
    for start, end in np.flatnonzero(np.diff(np.pad(cut & head, 1))).reshape(-1, 2):
        half = (end - start) / 2
        along = (column[start:end] + 0.5 - start) / half - 1  # -1..1
        rise[start:end] = RISE * half * (1 - along * along) ** ROUND
    start_of_dome = np.where(cut, first - rise, 0)
    rows = np.arange((first * cut).max(), dtype=np.float32)[:, None]
    dome = ((rows - start_of_dome) * np.float32(1 / (SOFT_CROWN * size)) + 1).clip(0, 1)
    dome[rows >= np.where(cut, first, 0)] = 1
    return np.asarray(dome, np.float32)


def _smoothstep(
    values: NDArray[np.float32], low: float | NDArray[np.float32], high: float | NDArray[np.float32]
) -> NDArray[np.float32]:
    """0 below `low`, 1 above `high`, smooth in between."""
    share = ((values - low) / (high - low)).clip(0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
