"""Metrics to a CSV file and TensorBoard, samples to PNG files."""

import csv
import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from photo2cartoon_models.files import write_file, write_whole

METRICS = "metrics.csv"
FIXED = ("step", "seconds", "steps_per_second", "learning_rate")


class Log:
    """What a run says about itself.

    When a run is resumed, what was logged after its checkpoint is dropped.

    Args:
        folder: the run's folder.
        step: the last step done; 0 for a new run.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._path = folder / METRICS
        self._rows = [row for row in self._read() if int(row["step"]) <= step]
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._columns: list[str] = []
        self._write_all()

    def _read(self) -> list[dict[str, str]]:
        if not self._path.exists():
            return []
        with self._path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if (row["step"] or "").isdigit()]

    def _write_all(self) -> None:
        """Rows may have different terms (a term every fourth step): the columns are all of them."""
        self._columns = list(dict.fromkeys([*FIXED, *(key for row in self._rows for key in row)]))
        with write_whole(self._path, "w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Add a row; `values` are means since the previous row."""
        row = {"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}}
        self._rows.append(row)
        if set(row) <= set(self._columns):
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        else:
            self._write_all()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def picture(self, name: str, step: int, image: NDArray[np.uint8]) -> Path:
        """Save a grid of samples, (H, W, 3) uint8 RGB, and return its file."""
        path = self.folder / "samples" / f"{name}_{step:07d}.png"
        write_png(path, image)
        self._board.add_image(name, image, step, dataformats="HWC")
        return path

    def close(self) -> None:
        self._board.close()


def time_left(seconds: float) -> str:
    """Say how long a run still takes, in whole minutes, rounded up: `1 h 05 min left`."""
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours} h {minutes:02} min left" if hours else f"{minutes} min left"


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a picture (H, W, 3) uint8 RGB as PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    write_file(path, data.tobytes())
