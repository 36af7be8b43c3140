"""The matte: how much of each pixel is the person."""

import numpy as np
from numpy.typing import NDArray

from app.alignment import Crop
from app.onnx import OnnxNetwork

# The network leaves faint ghosts below .1 and rarely reaches 1; levels stretch what is between.
LOW, HIGH = 0.1, 0.9


def predict_matte(network: OnnxNetwork, crop: Crop) -> NDArray[np.float32]:
    """Estimate the person's matte in an aligned crop of 256 px, the network's own size.

    Returns:
        `(S, S)` float32, 0 (background, or outside the photo) .. 1 (person).
    """
    tensor = crop.pixels.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    (mask,) = network.run(np.ascontiguousarray(tensor))
    levels = np.clip((mask[0, 0] - np.float32(LOW)) / np.float32(HIGH - LOW), 0, 1)
    return np.asarray(levels * crop.inside, np.float32)
