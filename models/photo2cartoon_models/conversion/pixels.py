"""The generator with bytes at both ends: what surrounds it in serving, inside the graph.

    image    uint8 (N, S, S, 4), RGBA, the aligned portrait and its matte
    cartoon  uint8 (N, S, S, 3), RGB on white

A quarter of the bytes cross the border of the runtime, and nobody has to transpose them. The
formulas are those of `preprocess`, in the same order in float32; a value that lies on the
edge between two grey levels may still fall to the other side.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from photo2cartoon_models.conversion.export import BATCHES, face_like, run_onnx
from photo2cartoon_models.preprocess import composite, to_image, to_tensor

TOLERANCE = 1.0  # grey levels: one step of truncation
NAMES = ("image", "cartoon")


class PixelGenerator(nn.Module):
    """Compositing, normalisation, the generator, and the way back."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, rgba: Tensor) -> Tensor:
        """(B, S, S, 4) uint8 to (B, S, S, 3) uint8."""
        planes = rgba.permute(0, 3, 1, 2).float()  # (B, 4, S, S), 0..255
        colours, alpha = planes[:, :3], planes[:, 3:] / 255
        photo = _on_white(colours, alpha) / 127.5 - 1  # (B, 3, S, S), -1..1
        levels = ((self.generator(photo) + 1) * 127.5).clamp(0, 255)
        return _on_white(levels, alpha).permute(0, 2, 3, 1).to(torch.uint8)


def _on_white(colours: Tensor, alpha: Tensor) -> Tensor:
    """`preprocess.composite` in a graph: in 0..255, truncated, but still float32."""
    return (colours * alpha + 255 * (1 - alpha)).floor()


def drawn_rgba(batch: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Drawn portraits with a soft matte, (batch, side, side, 4) uint8."""
    portraits = (face_like(batch, side, seed).transpose(0, 2, 3, 1) + 1) * 127.5
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    matte = (1.2 - np.hypot(x, y)).clip(0, 0.4) / 0.4 * 255
    mattes = np.broadcast_to(matte[None, :, :, None], (batch, side, side, 1))
    return np.concatenate((portraits, mattes), 3).astype(np.uint8)


@torch.no_grad()
def pixel_distance(content: bytes, net: nn.Module, side: int) -> float:
    """Largest difference in grey levels between the file and numpy around the torch network."""
    worst = 0.0
    for batch in BATCHES:
        rgba = drawn_rgba(batch, side)
        found = run_onnx(content, rgba)
        for picture, cartoon in zip(rgba, found, strict=True):
            expected = draw(picture, net)
            worst = max(worst, float(abs(cartoon.astype(int) - expected.astype(int)).max()))
    return worst


def draw(rgba: NDArray[np.uint8], net: nn.Module) -> NDArray[np.uint8]:
    """One portrait (S, S, 4) through `preprocess` and a torch network: (S, S, 3) uint8."""
    alpha = rgba[:, :, 3]
    photo = to_tensor(composite(rgba[:, :, :3], alpha))
    output = net(torch.from_numpy(photo)[None])[0].numpy()
    return composite(to_image(output), alpha)
