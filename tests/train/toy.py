"""A toy data set that the tests draw: "photos" and "cartoons" of round faces, 64 px."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon_models.conversion.export import face_like

SIDE = 64
COUNT = 20


def portrait(seed: int, side: int = SIDE) -> NDArray[np.uint8]:
    """A drawn portrait on white, (side, side, 3) uint8 RGB."""
    levels = (face_like(1, side, seed)[0].transpose(1, 2, 0) + 1) * 127.5
    return np.asarray(levels, np.uint8)


def cartoon(seed: int, side: int = SIDE) -> NDArray[np.uint8]:
    """The same in four grey levels a colour."""
    return np.asarray(portrait(seed, side) // 64 * 85, np.uint8)


def write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    assert cv2.imwrite(str(path), cv2.cvtColor(image, order))


def make(root: Path, count: int = COUNT) -> Path:
    """`trainA`, `trainB`, `testA`, `testB`, `trainP`, `crops` and `faces.jsonl` below `root`."""
    lines = []
    for k in range(count):
        photo = portrait(k)
        write(root / "trainA" / f"{k:02}.png", photo)
        matte = np.where(photo.min(axis=2) < 250, 255, 0).astype(np.uint8)
        write(root / "crops" / "trainA" / f"{k:02}.png", np.dstack((photo, matte)))
        write(root / "trainB" / f"{k:02}.png", cartoon(100 + k))
        write(root / "trainP" / f"{k:02}.png", np.hstack((portrait(k), cartoon(k))))
        lines += [face(f"trainA/{k:02}.png"), face(f"trainP/{k:02}.png")]
    for k in range(3):
        write(root / "testA" / f"{k}.png", portrait(50 + k))
        write(root / "testB" / f"{k}.png", cartoon(60 + k))
    (root / "faces.jsonl").write_text("\n".join(lines) + "\n")
    return root


def face(picture: str) -> str:
    """One line of `faces.jsonl`, with points where `face_like` draws eyes, mouth and face."""
    ellipses = {
        "left_eye": (-0.22, -0.1, 0.09, 0.05),
        "right_eye": (0.22, -0.1, 0.09, 0.05),
        "mouth": (0, 0.4, 0.18, 0.06),
        "oval": (0, 0.05, 0.55, 0.7),
    }
    points = {
        name: [[(x + sx * w + 1) * SIDE / 2 - 0.5, (y + sy * h + 1) * SIDE / 2 - 0.5]
               for sx, sy in ((-1, 0), (1, 0), (0, -1), (0, 1))]
        for name, (x, y, w, h) in ellipses.items()
    }  # fmt: skip
    return json.dumps({"picture": picture, "size": SIDE, "points": points})
