"""What both recipes are made of, and what the loop asks of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Terms = dict[str, Tensor]  # the loss under TOTAL, and what it is made of, for the log
Image = NDArray[np.uint8]
TOTAL = "total"
SHOWN = 5  # pictures of each folder in a grid, as many as upstream


class Recipe(Protocol):
    """One way to train.

    Attributes:
        networks: by their name in the checkpoint; `genA2B` is what a converter takes.
        optimisers: by name.
        total_steps: the length of the run.
    """

    networks: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]
    total_steps: int

    def step(self, number: int) -> Terms:
        """Train one step; `number` counts from 1. Returns what the log keeps."""
        ...

    def grids(self) -> dict[str, Image]:
        """Sheets of samples, by name, (H, W, 3) uint8 RGB."""
        ...

    def strips(self) -> Iterator[tuple[str, Image]]:
        """Every test picture and what becomes of it, by name."""
        ...

    def load(self, path: Path) -> list[str]:
        """Start from the weights in a file; returns the networks that were found there."""
        ...


def spread(count: int, limit: int = SHOWN) -> list[int]:
    """Return `limit` places, or all if there are fewer, spread evenly over `count`."""
    return [k * count // min(limit, count) for k in range(min(limit, count))]


class Trained(nn.Module):
    """The networks of one optimiser as one module, whose forward is one loss.

    What runs inside belongs to one forward and one backward a step: that is what distributed
    training and autocast wrap.
    """

    def __init__(self, **networks: nn.Module) -> None:
        super().__init__()
        for name, network in networks.items():
            self.add_module(name, network)

    def forward(self, loss: Callable[[], Terms]) -> Terms:
        return loss()


def linear_decay(rate: float, step: int, total: int, start: int) -> float:
    """Learning rate of `step` (from 1): constant up to `start`, then linear to 0 at `total`.

    With `start` = total // 2 it is minivision's: rate * (1 - (step - N/2) / (N/2)) beyond N/2.
    """
    return rate * (1 - max(0, step - start) / max(1, total - start))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def lay_out(network: Any, channels_last: bool) -> None:
    """Order the weights in memory as the pictures will be."""
    network.to(memory_format=memory_format(channels_last))


def to_pictures(batch: Tensor) -> list[Image]:
    """(B, 3, S, S), -1..1, to (S, S, 3) uint8 each."""
    levels = ((batch.float() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).cpu().numpy())


def to_heatmaps(batch: Tensor, size: int) -> list[Image]:
    """Attention (B, 1, h, w) as colours from blue to red, (size, size, 3) each.

    Upstream's: from the smallest to the largest value of each map; a constant one is all blue.
    """
    maps = []
    for heat in batch[:, 0].float().cpu().numpy():
        heat = heat - heat.min()
        scaled = np.uint8(255 * heat / max(float(heat.max()), 1e-12))
        large = cv2.resize(np.asarray(scaled), (size, size), interpolation=cv2.INTER_LINEAR)
        colours = cv2.applyColorMap(large, cv2.COLORMAP_JET)
        maps.append(np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB), np.uint8))
    return maps


def stack(rows: list[list[Image]]) -> Image:
    """Rows of pictures of one size as one picture."""
    return np.vstack([np.hstack(row) for row in rows])


def load_face_id_network(path: Any, device: torch.device) -> nn.Module:
    """The frozen face recognition network at `path`.

    Raises:
        WeightsError: the file is not one.
    """
    from photo2cartoon_models.training.face_id import load_face_id  # noqa: PLC0415 - only when asked for

    network: nn.Module = load_face_id(path)
    return network.eval().requires_grad_(False).to(device)
