"""A toy training run: drawn "photos" and "cartoons" of round faces, 64 px, and small recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from photo2cartoon_models.conversion.export import face_like

SIDE = 64
COUNT = 20
SMALL: dict[str, Any] = {
    "published": {
        "recipe": "published",
        "iterations": 6,
        "model": {
            "generator": {"ngf": 4, "img_size": 32},
            "discriminator_g": {"ndf": 4, "n_layers": 5},
            "discriminator_l": {"ndf": 4, "n_layers": 4},
            "faceid_weight": 0,
        },
    },
    "fast": {
        "recipe": "fast",
        "precision": "32-true",
        "model": {"generator": {"name": "LiteGenerator", "ngf": 4, "n_blocks": 2}},
        "stages": [{"img_size": 32, "iterations": 3}, {"img_size": 64, "iterations": 3}],
    },
}


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


def configured(recipe: str, data: Path, folder: Path) -> list[str]:
    """Arguments of `train`: a small `published` or `fast` recipe on what `make` wrote."""
    train = {"dataroot_a": str(data / "trainA"), "dataroot_b": str(data / "trainB")}
    if recipe == "fast":
        train["dataroot_p"] = str(data / "trainP")
    else:
        train["load_size"] = "36"
    test = {"dataroot_a": str(data / "testA"), "dataroot_b": str(data / "testB")}
    values = {
        **SMALL[recipe],
        "dataset": {"train": train, "test": test},
        "log_config": {"interval": 2, "visual_interval": 4},
        "snapshot_config": {"interval": 3, "keep_interval": 4},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return ["--config-file", str(path), "--accelerator", "cpu"]


def into(folder: Path) -> list[str]:
    """The argument that lets a run write into `folder`."""
    return ["-o", f"output_dir={folder}"]
