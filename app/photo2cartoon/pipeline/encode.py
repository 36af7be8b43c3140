"""Pixels to bytes: PNG, JPEG or WebP, without any metadata.

OpenCV encodes: its PNG is several times faster than Pillow's.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.formats import OutputFormat

DEFAULT_QUALITY = 92
# A filter and a strategy that suit drawings: smaller files than OpenCV's own choice, in less time.
# No level is named, since that would switch off the strategy.
PNG = [
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
]
MAX_SIDE = {"webp": 16_383, "jpeg": 65_500}  # px; what their libraries write


def encode_image(
    image: NDArray[np.uint8], output_format: OutputFormat, quality: int | None = None
) -> bytes:
    """Encode an image.

    Args:
        image: `(H, W, 3)` RGB or `(H, W, 4)` RGBA, uint8; RGB only for JPEG.
        output_format: the format.
        quality: 1 (smallest file) to 100 (best picture) for JPEG and WebP; PNG is lossless.

    Raises:
        InvalidOption: the format cannot hold a picture that large.
        RuntimeError: OpenCV refuses the image.
    """
    most = MAX_SIDE.get(output_format)
    if most and max(image.shape[:2]) > most:
        raise InvalidOption(f"format={output_format} holds at most {most} px a side: try png.")
    flag = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}.get(output_format)
    parameters = PNG if flag is None else [flag, quality or DEFAULT_QUALITY]
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, encoded = cv2.imencode(f".{output_format}", cv2.cvtColor(image, order), parameters)
    if not done:
        raise RuntimeError(f"OpenCV could not encode {output_format}")
    return encoded.tobytes()
