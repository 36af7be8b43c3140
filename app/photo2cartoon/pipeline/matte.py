"""The matte: how much of each pixel is the person."""

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.alignment import Alignment, Crop, crop_face
from photo2cartoon.runtime.network import Network

EMBEDDED_SIZE = 256  # px; the embedded network takes any size and works best at this one


def predict_matte(
    network: Network,
    image: NDArray[np.uint8],
    alignment: Alignment,
    crop: Crop,
    ticket: Ticket | None = None,
) -> NDArray[np.float32]:
    """Estimate the person's matte in an aligned crop.

    The network's contract in the manifest decides what it is fed (size, layout, range) and what its
    answer means (the channel, and the values that stand for background and person).

    Args:
        network: the matte network.
        image: the photo, `(H, W, 3)` uint8 RGB.
        alignment: where the square lies in it.
        crop: that square at the generator's size, `(S, S)`.
        ticket: of the request, for a network that several threads share.

    Returns:
        `(S, S)` float32, 0 (background, or outside the photo) .. 1 (person).
    """
    source, target = network.model.inputs[0], network.model.outputs[0]
    size = source.image_size or EMBEDDED_SIZE
    seen = crop if crop.pixels.shape[0] == size else crop_face(image, alignment, size)
    low, high = source.range
    tensor = seen.pixels.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
    tensor = tensor if source.layout == "NHWC" else tensor.transpose(2, 0, 1)
    answer = network.run(np.ascontiguousarray(tensor[None]), ticket)[0][0]
    mask = answer[..., target.channel] if target.layout == "NHWC" else answer[target.channel]
    low, high = target.range
    matte = np.clip((mask - np.float32(low)) / np.float32(high - low), 0, 1)
    if matte.shape != crop.inside.shape:
        matte = cv2.resize(matte, crop.inside.shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(matte * crop.inside, np.float32)
