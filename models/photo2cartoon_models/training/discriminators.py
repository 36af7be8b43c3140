"""The fast recipe's discriminators: heads on frozen features, and a small one on pixels.

Projected GANs (Sauer et al., NeurIPS 2021, arXiv 2111.01007): features of a network that knows
pictures, mixed by fixed random projections, so that a head cannot lean on a few channels. Theirs
also mix scales; ours do not. The features alone leave a checker texture, so patches of pixels are
discriminated too (PatchGAN, Isola et al., CVPR 2017, arXiv 1611.07004).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of the leaky ReLUs


class ProjectedDiscriminator(nn.Module):
    """One head for each stride of one feature network.

    Args:
        channels: stride -> channels of its features.
        width: channels after the projection.
    """

    def __init__(self, channels: Mapping[int, int], width: int = 64) -> None:
        super().__init__()
        self.projections, self.heads = nn.ModuleDict(), nn.ModuleDict()
        for stride, count in channels.items():
            projection = nn.Conv2d(count, width, 1, bias=False).requires_grad_(False)
            nn.init.kaiming_normal_(projection.weight, nonlinearity="linear")
            self.projections[str(stride)] = projection
            self.heads[str(stride)] = nn.Sequential(
                spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
                nn.LeakyReLU(SLOPE),
                spectral_norm(nn.Conv2d(width, 1, 1)),
            )

    def forward(self, features: Mapping[int, Tensor]) -> list[Tensor]:
        """Logits (B, 1, h, w) a stride; above 0 means real. In float32, whatever autocast says."""
        kind = next(iter(features.values())).device.type
        with torch.autocast(kind, enabled=False):
            return [
                self.heads[name](projection(features[int(name)].float()))
                for name, projection in self.projections.items()
            ]


class PatchDiscriminator(nn.Module):
    """Tells patches of about 16 px apart; `pixel` in configurations and checkpoints."""

    def __init__(self, ndf: int = 24) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(3, ndf, 4, 2, 1)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(nn.Conv2d(ndf, 2 * ndf, 4, 2, 1)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(nn.Conv2d(2 * ndf, 1, 3, padding=1)),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, S, S), -1..1, to logits (B, 1, S/4, S/4)."""
        logits: Tensor = self.layers(picture)
        return logits.float()
