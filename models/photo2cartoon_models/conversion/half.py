"""The generator with half precision convolutions, for GPUs.

Only the convolutions are float16: their weights, what they read and what they give. Everything
that sums over a picture stays float32 (instance and layer normalisation, the attention's means and
maxima, the linear layers), because a float16 sum over 65,536 pixels overflows or loses its digits,
and so do the two ends. Rewritten in torch, so that the exporter writes the casts.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from photo2cartoon_models.conversion.export import face_like, run_onnx

MEAN_TOLERANCE = 1.0  # grey levels; a picture that is off by less looks the same
LARGEST_TOLERANCE = 8.0  # grey levels, single pixels at edges
SQUARE = 16  # px
LEVELS = 127.5  # of 0..255 in a step of 1 on -1..1


class HalfConv2d(nn.Module):
    """A convolution in float16 between float32 ends."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv.half()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x.half()).float()
        return y


def halved(net: nn.Module) -> nn.Module:
    """A copy of `net` whose convolutions are float16."""
    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, HalfConv2d(child))
    return net


@torch.no_grad()
def half_distance(content: bytes, net: nn.Module, side: int) -> float:
    """How much of its allowance the file uses: 1 is the limit, inf is for NaN.

    The larger of mean difference / MEAN_TOLERANCE and largest difference / LARGEST_TOLERANCE, over
    drawn portraits, a white picture and a black one with one small square in them, and one of
    saturated squares. Without the square nothing would be compared but rounding: a picture of one
    colour has no variance, and each normalisation divides by sqrt(EPS).
    """
    flat = np.ones((3, 3, side, side), np.float32)
    flat[1] = -1
    flat[:2, :, :SQUARE, :SQUARE] *= -1
    squares = np.random.default_rng(0).choice([-1.0, 1.0], (3, side // SQUARE, side // SQUARE))
    flat[2] = squares.repeat(SQUARE, 1).repeat(SQUARE, 2)
    photos = np.concatenate((face_like(5, side), flat))
    worst = 0.0
    for photo in photos:
        expected = net(torch.from_numpy(photo)[None]).numpy()
        apart = abs(run_onnx(content, photo[None]) - expected) * LEVELS
        used = float(max(apart.mean() / MEAN_TOLERANCE, apart.max() / LARGEST_TOLERANCE))
        worst = max(worst, used if np.isfinite(used) else np.inf)
    return worst
