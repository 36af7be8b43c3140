"""The two discriminators of U-GAT-IT: is this picture a real one of its kind?

A global one (seven layers, sees nearly the whole picture) and a local one (five layers, patches)
for each of the two kinds. Facts: U-GAT-IT, Kim et al., ICLR 2020, arXiv 1907.10830, and
minivision-ai/photo2cartoon @ 6204e27 (MIT), which uses them unchanged. Attribute names are the
keys of the published files.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

SLOPE = 0.2  # of the leaky ReLUs
LAYERS = {"global": 7, "local": 5}


class DiscriminatorOutput(NamedTuple):
    """What a discriminator says about a picture of side S.

    Attributes:
        logit: (B, 1, h, w), one number a patch, trained towards 1 (real) and 0 (made). h = w:
            S/32 - 2 for seven layers, S/8 - 2 for five.
        cam_logit: (B, 2), the same by the mean and by the maximum of the features.
        heatmap: (B, 1, h + 1, w + 1): where the attention looks.
    """

    logit: Tensor
    cam_logit: Tensor
    heatmap: Tensor


def conv4x4(dim_in: int, dim_out: int, stride: int, bias: bool = True) -> list[nn.Module]:
    """Reflection pad 1 and a spectrally normalised convolution.

    `torch.nn.utils.spectral_norm` and not the newer parametrization: its state is the published
    `weight_orig`, `weight_u`, `weight_v`, one power iteration a training step, eps 1e-12.
    """
    return [
        nn.ReflectionPad2d(1),
        spectral_norm(nn.Conv2d(dim_in, dim_out, 4, stride, bias=bias)),
    ]


class Discriminator(nn.Module):
    """Tells real pictures from made ones, patch by patch.

    A new one has to run once in training mode before `eval()` means anything: its spectral norms
    are estimates that start at random.

    Args:
        n_layers: 7 for the global discriminator, 5 for the local one.
        ndf: channels after the first layer.
    """

    def __init__(self, n_layers: int = 7, ndf: int = 32) -> None:
        super().__init__()
        halvings = n_layers - 3
        layers = [*conv4x4(3, ndf, 2), nn.LeakyReLU(SLOPE)]  # S/2
        for i in range(halvings):
            layers += [*conv4x4(ndf << i, ndf << (i + 1), 2), nn.LeakyReLU(SLOPE)]  # S/4 ...
        dim = ndf << (halvings + 1)
        layers += [*conv4x4(dim // 2, dim, 1), nn.LeakyReLU(SLOPE)]  # one row and column less
        self.model = nn.Sequential(*layers)
        self.gap_fc = spectral_norm(nn.Linear(dim, 1, bias=False))
        self.gmp_fc = spectral_norm(nn.Linear(dim, 1, bias=False))
        self.conv1x1 = nn.Conv2d(2 * dim, dim, 1)  # the only one without spectral norm
        self.leaky_relu = nn.LeakyReLU(SLOPE)
        self.pad = nn.ReflectionPad2d(1)
        self.conv = spectral_norm(nn.Conv2d(dim, 1, 4, bias=False))

    def forward(self, picture: Tensor) -> DiscriminatorOutput:
        """Discriminate `picture`: (B, 3, S, S), RGB, -1..1."""
        x = self.model(picture)  # (B, D, h + 1, w + 1)
        by_mean = self.gap_fc(x.mean((2, 3)))  # (B, 1)
        by_max = self.gmp_fc(x.amax((2, 3)))  # (B, 1)
        # The logits above use the normalised weights, the attention the raw ones, as upstream.
        raw = [
            self.get_parameter(f"{name}.weight_orig") for name in ("gap_fc", "gmp_fc")
        ]  # (1, D) each
        weighted = [x * weight[:, :, None, None] for weight in raw]
        x = self.leaky_relu(self.conv1x1(torch.cat(weighted, 1)))  # (B, D, h + 1, w + 1)
        heatmap = x.sum(1, keepdim=True)
        return DiscriminatorOutput(self.conv(self.pad(x)), torch.cat((by_mean, by_max), 1), heatmap)
