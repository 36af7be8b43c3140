"""The light generator: about a ninth of photo2cartoon's arithmetic, for CPUs.

A residual network between three halvings and three doublings, with a skip at each scale: the
transform network of Johnson et al. (ECCV 2016, arXiv 1603.08155) in the frame of a U-Net
(Ronneberger et al., MICCAI 2015, arXiv 1505.04597). 2.07 million weights and 3.3 GMAC at 256 px
(photo2cartoon's own: 3.83 million, 18.6 GMAC). It has no attention, so the published recipe, which
trains that, cannot train it; the fast recipe can.

Doublings are by nearest neighbour before a convolution, which leaves no checker pattern.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - what everyone calls it
from torch import Tensor, nn

STRIDE = 8  # sides are multiples of it: three halvings
SMALLEST_SIDE = 32  # px


def conv_norm_relu(dim_in: int, dim_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution on reflected borders, instance normalisation with weights, ReLU."""
    return nn.Sequential(
        nn.Conv2d(dim_in, dim_out, kernel, stride, kernel // 2, bias=False, padding_mode="reflect"),
        nn.InstanceNorm2d(dim_out, affine=True),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_relu(dim, dim),
            nn.Conv2d(dim, dim, 3, padding=1, bias=False, padding_mode="reflect"),
            nn.InstanceNorm2d(dim, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Up(nn.Module):
    """Narrow, double, put the skip beside it, mix."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.narrow = conv_norm_relu(2 * dim, dim)
        self.mix = conv_norm_relu(2 * dim, dim)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, 2 dim, h, w) and (B, dim, 2 h, 2 w) to (B, dim, 2 h, 2 w)."""
        doubled = F.interpolate(self.narrow(x), scale_factor=2.0)
        mixed: Tensor = self.mix(torch.cat((doubled, skip), 1))
        return mixed


class LiteGenerator(nn.Module):
    """Photo in, cartoon out, with little arithmetic.

    Args:
        ngf: channels at full size; doubled at each halving.
        n_blocks: residual blocks at an eighth of the size.
    """

    def __init__(self, ngf: int = 16, n_blocks: int = 6) -> None:
        super().__init__()
        self.ngf, self.n_blocks = ngf, n_blocks
        self.stem = conv_norm_relu(3, ngf, kernel=5)
        self.down1 = conv_norm_relu(ngf, 2 * ngf, stride=2)
        self.down2 = conv_norm_relu(2 * ngf, 4 * ngf, stride=2)
        self.down3 = conv_norm_relu(4 * ngf, 8 * ngf, stride=2)
        self.blocks = nn.Sequential(*(Residual(8 * ngf) for _ in range(n_blocks)))
        self.up3, self.up2, self.up1 = Up(4 * ngf), Up(2 * ngf), Up(ngf)
        self.out = nn.Conv2d(ngf, 3, 5, padding=2, padding_mode="reflect")

    def forward(self, photo: Tensor) -> Tensor:
        """Draw `photo`: (B, 3, S, S), RGB on white, -1..1, S a multiple of 8; the same comes back.

        Raises:
            ValueError: a side that the network cannot halve three times.
        """
        for side in photo.shape[2:]:
            if side % STRIDE or side < SMALLEST_SIDE:
                raise ValueError(
                    f"sides must be multiples of {STRIDE} from {SMALLEST_SIDE} px up, not {side}"
                )
        full = self.stem(photo)  # (B, ngf, S, S)
        half = self.down1(full)
        quarter = self.down2(half)
        x = self.blocks(self.down3(quarter))  # (B, 8 ngf, S/8, S/8)
        x = self.up1(self.up2(self.up3(x, quarter), half), full)  # (B, ngf, S, S)
        return torch.tanh(self.out(x).float())
