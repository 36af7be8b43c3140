"""Close-up: a face that fills its photo becomes a picture that it fills."""

from dataclasses import replace

import cv2
import numpy as np

from photo2cartoon.pipeline.alignment import Alignment, inscribe, is_close_up
from photo2cartoon.pipeline.drawer import Cut, Drawing
from photo2cartoon.pipeline.faces.warp import compose, inverse


def choose_frame(cut: Cut, image_size: tuple[int, int]) -> Alignment:
    """Return the square that the picture of a face shows: its own, or a close-up's inner one.

    Args:
        cut: the face.
        image_size: width and height of the photo, px.
    """
    if is_close_up(cut.alignment, image_size):
        return inscribe(cut.alignment, image_size)
    return cut.alignment


def frame_close_up(cut: Cut, drawing: Drawing, image_size: tuple[int, int]) -> Drawing:
    """Enlarge what was drawn of a close-up; leave every other drawing as it is.

    The square around a face that is cut off on all sides is mostly mirror image. The generator
    needs it, because it draws faces best at the size that they have in every square; but the
    drawing would be a stamp on white. So the largest upright square within the photo is shown.

    Args:
        cut: the face.
        drawing: what was drawn of it.
        image_size: width and height of the photo, px.

    Returns:
        A drawing of the same size, `(S, S)`.
    """
    frame = choose_frame(cut, image_size)
    if frame is cut.alignment:
        return drawing
    size = len(drawing.matte)
    to_square = compose(inverse(cut.alignment.to_photo(size)), frame.to_photo(size))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    layers = np.dstack([drawing.cartoon, drawing.matte * 255]).astype(np.float32)
    border = cv2.BORDER_REPLICATE
    shown = cv2.warpAffine(layers, to_square, (size, size), flags=flags, borderMode=border)
    levels = np.asarray(shown.clip(0, 255), np.float32)
    matte = np.asarray(levels[:, :, 3] / 255, np.float32)
    return replace(drawing, cartoon=levels[:, :, :3], matte=matte)
