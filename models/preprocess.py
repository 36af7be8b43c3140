"""What the generator sees and what is made of its answer: shared by serving and training.

numpy only. Every formula here is photo2cartoon's (minivision-ai/photo2cartoon @ 6204e27,
`test.py` and `data_process.py`); where it is changed, the reason stands beside it.
"""

import numpy as np
from numpy.typing import NDArray

WHITE = (255, 255, 255)


def composite(
    foreground: NDArray[np.uint8] | NDArray[np.float32],
    alpha: NDArray[np.float32],
    background: tuple[int, int, int] = WHITE,
) -> NDArray[np.uint8]:
    """Lay `foreground` over one colour.

    `foreground * alpha + background * (1 - alpha)`, truncated to whole grey levels as upstream
    does for its output. Upstream does not truncate before the generator; we do, so that a
    prepared photo written to a file for training is exactly what serving feeds.

    Args:
        foreground: `(H, W, 3)`, RGB, 0..255.
        alpha: `(H, W)`, float32, 0 (background) .. 1 (foreground).
        background: RGB, 0..255.

    Returns:
        `(H, W, 3)` uint8, RGB.
    """
    weight = alpha[:, :, None]
    return (foreground * weight + np.array(background, np.float32) * (1 - weight)).astype(np.uint8)


def to_tensor(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn an image `(H, W, 3)`, uint8 RGB, into generator input `(3, H, W)`, float32, -1..1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / np.float32(127.5) - 1


def to_image(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn generator output `(3, H, W)`, -1..1, into `(H, W, 3)`, RGB, 0..255, float32.

    Not rounded: `composite` does that, once.
    """
    image = (tensor.transpose(1, 2, 0) + np.float32(1)) * np.float32(127.5)
    return np.ascontiguousarray(image.clip(0, 255))
