"""What the generator sees and what becomes of its output: shared by serving and training.

This file needs numpy only. Every formula is photo2cartoon's (minivision-ai/photo2cartoon @ 6204e27,
`test.py` and `data_process.py`); where one is changed, the reason stands beside it.
"""

import numpy as np
from numpy.typing import NDArray

WHITE = (255, 255, 255)
BAND_PX = 1 << 16  # pixels composited at once: their float32 values stay in the cache
GOLDEN_TOLERANCE = 2 / 255  # share of a tensor's range, two grey levels: kernels differ
GOLDEN_NUMBERS = 64
FREE_SIZES = {"N": 1, "H": 256, "W": 256}  # of the self test's input
PROBE_ELLIPSES = (  # centre, radii, colour; px of a picture of 256 x 256: x, y, RGB
    ((128, 290), (100, 110), (60, 80, 160)),  # shoulders
    ((128, 98), (76, 88), (50, 35, 30)),  # hair
    ((128, 120), (62, 80), (220, 180, 150)),  # face
    ((104, 110), (10, 6), (40, 30, 30)),  # eyes
    ((152, 110), (10, 6), (40, 30, 30)),
    ((128, 158), (18, 7), (170, 70, 70)),  # mouth
)


def composite(
    foreground: NDArray[np.uint8] | NDArray[np.float32],
    alpha: NDArray[np.uint8] | NDArray[np.float32],
    background: tuple[int, int, int] = WHITE,
) -> NDArray[np.uint8]:
    """Lay `foreground` over one colour.

    `foreground * alpha + background * (1 - alpha)` in float32, truncated to whole grey levels as
    upstream does for its output. Upstream does not truncate before the generator; we do, so that a
    prepared photo written to a file for training is exactly what serving feeds.

    Whatever numpy lays on white goes through here. Where numpy cannot run, the same formula is
    written in torch (`training.augment.on_white`, which does not truncate, because its pictures
    never become bytes; `conversion.pixels`) and as ONNX nodes (`photo2cartoon.pipeline.fuse`);
    `tests/train/test_composite.py` holds these forms to this one.

    Args:
        foreground: `(H, W, 3)`, RGB, 0..255.
        alpha: `(H, W)`, 0 (background) .. 1 (foreground) in float32, or 0..255 in uint8.
        background: RGB, 0..255.

    Returns:
        `(H, W, 3)` uint8, RGB.
    """
    width = foreground.shape[1]
    row = np.full((width, 3), background, np.float32)
    opaque = np.float32(255 if alpha.dtype == np.uint8 else 1)
    laid = np.empty(foreground.shape, np.uint8)
    rows = max(1, BAND_PX // width)
    for top in range(0, len(laid), rows):
        band = slice(top, top + rows)
        # Arrays of one shape: numpy takes four times as long to spread a plane over the channels.
        weight = np.repeat(alpha[band] / opaque, 3, axis=1).reshape(-1, width, 3)
        laid[band] = foreground[band] * weight + row * (1 - weight)
    return laid


def to_tensor(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn an image `(H, W, 3)`, uint8 RGB, into generator input `(3, H, W)`, float32, -1..1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / np.float32(127.5) - 1


def to_image(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn generator output `(3, H, W)`, -1..1, into `(H, W, 3)`, RGB, 0..255, float32.

    It is not rounded: `composite` truncates, once.
    """
    image = np.stack(list(tensor), axis=-1)
    image += np.float32(1)
    image *= np.float32(127.5)
    return image.clip(0, 255, out=image)


def probe_input(
    shape: tuple[int | str, ...], layout: str, value_range: tuple[float, float]
) -> NDArray[np.float32]:
    """Draw the self test's input: a head of ellipses, identical to the last bit on every machine.

    Args:
        shape: the tensor's shape `(N, ...)`, three channels; `FREE_SIZES` stand in for free sizes.
        layout: `NCHW` or `NHWC`.
        value_range: the values of black and white.

    Returns:
        float32 of that shape.
    """
    sizes = [FREE_SIZES[size] if isinstance(size, str) else size for size in shape]
    height, width = sizes[1:3] if layout == "NHWC" else sizes[2:4]
    y, x = np.indices((height, width)) * 256 // np.array([height, width])[:, None, None]
    picture = np.full((height, width, 3), 255)
    for (cx, cy), (rx, ry), colour in PROBE_ELLIPSES:
        inside = ((x - cx) * ry) ** 2 + ((y - cy) * rx) ** 2 < (rx * ry) ** 2
        picture[inside] = colour
    low, high = value_range
    tensor = (picture * np.float32((high - low) / 255) + np.float32(low)).astype(np.float32)
    tensor = tensor if layout == "NHWC" else tensor.transpose(2, 0, 1)
    return np.repeat(tensor[None], sizes[0], axis=0)


def summarise(output: NDArray[np.float32]) -> NDArray[np.float64]:
    """Reduce an output to at most `GOLDEN_NUMBERS` means over its parts, in memory order."""
    flat = output.astype(np.float64).reshape(-1)
    return np.array([part.mean() for part in np.array_split(flat, min(GOLDEN_NUMBERS, flat.size))])
