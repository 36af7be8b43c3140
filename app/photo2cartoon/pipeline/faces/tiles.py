"""Overlapping square tiles of a picture, in which a detector meets small heads large enough."""

import math

import numpy as np
from numpy.typing import NDArray

OVERLAP = 0.25  # share of a tile's side: heads up to this size are whole in one of the tiles
MOST = 24  # tiles; each costs one run of the detector


def lay_tiles(width: int, height: int, smallest: int) -> list[tuple[int, int, int]]:
    """Cover a picture by at most `MOST` squares, the smallest that will do.

    Args:
        width: of the picture, px.
        height: of the picture, px.
        smallest: side of a tile, px: more than that only if there would be too many tiles.

    Returns:
        Left, top and side of each, px; a square reaches beyond a picture that is narrower than it.
        Empty if the tiles would show heads hardly larger than the whole picture does.
    """
    side = smallest
    while _count(width, side) * _count(height, side) > MOST:
        side = math.ceil(side * 1.05)
    if max(width, height) * (1 - OVERLAP) <= side:
        return []
    return [(left, top, side) for top in _starts(height, side) for left in _starts(width, side)]


def are_inside(
    boxes: NDArray[np.float32], tile: tuple[int, int, int], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which boxes no border cuts that the tile has and the picture has not.

    A head that is cut there is whole in the next tile, or large enough for the whole picture.

    Args:
        boxes: `(K, 2, 2)`: upper left and lower right corners, px of the picture.
        tile: left, top and side, px.
        size: width and height of the picture, px.
    """
    left, top, side = tile
    start, end = np.array([left, top]), np.array([left, top]) + side
    lower = (boxes[:, 0] >= start) | (start <= 0)
    upper = (boxes[:, 1] <= end) | (end >= np.array(size))
    return np.asarray((lower & upper).all(axis=1), np.bool_)


def _count(length: int, side: int) -> int:
    """Return how many tiles cover `length` px with the overlap."""
    return max(1, math.ceil((length / side - OVERLAP) / (1 - OVERLAP)))


def _starts(length: int, side: int) -> list[int]:
    """Spread tiles evenly from border to border."""
    last = max(0, length - side)
    return [int(start) for start in np.linspace(0, last, _count(length, side)).round()]
